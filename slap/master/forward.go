package master

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"weir/slap"
)

// forward passes a request on to another master when its filter or its
// release says so; done tells whether it did.
func (m *Master) forward(ctx context.Context, r *request, from *http.Request) (v any, done bool, err error) {
	f, err := m.forwardOf(ctx, r, from)
	if f == nil || err != nil {
		return nil, false, err
	}
	title, err := m.forwardTitle(r)
	if err != nil {
		return nil, false, err
	}
	client, err := m.clientOf(f)
	if err != nil {
		return nil, false, err
	}
	answer, err := client.RequestValue(ctx, forwardRequest(f, r, title))
	if err != nil {
		return nil, false, forwardProblem(f, err)
	}
	o, ok := answer.(*slap.Object)
	if !ok {
		return nil, false, &problem{statusUnreachable, fmt.Sprintf("master %s answered a %T", f.URL, answer)}
	}
	err = m.state.update(ctx, func(t *tx) error {
		row := &forwarded{Title: title, Master: f.URL, Requester: r.requester, Software: r.software}
		switch old := t.forwarded(title); {
		case r.state == destroyed && old != nil:
			t.setForwarded(title, nil)
		case r.state != destroyed && (old == nil || old.Master != row.Master || old.Software != row.Software):
			t.setForwarded(title, row)
		}
		return nil
	})
	return forwardAnswer(f, r, o), true, err
}

// forwardOf finds the master that a request goes to, nil for this one.
func (m *Master) forwardOf(ctx context.Context, r *request, from *http.Request) (*Forward, error) {
	if to, ok := r.filter["master_url"].(string); ok && to != "" {
		if sameHost(to, origin(from)) {
			return nil, nil
		}
		if k := slices.IndexFunc(m.o.Forward, func(f Forward) bool { return f.URL == to }); k >= 0 {
			return m.unlessMe(ctx, &m.o.Forward[k]), nil
		}
		return nil, notFound("External SlapOS Master URL %s is not listed in multimaster list.", to)
	}
	for k := range m.o.Forward {
		if slices.Contains(m.o.Forward[k].Releases, r.software) {
			return m.unlessMe(ctx, &m.o.Forward[k]), nil
		}
	}
	return nil, nil
}

// unlessMe gives nil for a master that is this one under another name.
func (m *Master) unlessMe(ctx context.Context, f *Forward) *Forward {
	client, err := m.clientOf(f)
	if err != nil {
		return f
	}
	if id, err := client.RunID(ctx); err == nil && id == m.runID {
		return nil
	}
	return f
}

func sameHost(a, b string) bool {
	u, err := url.Parse(a)
	v, err2 := url.Parse(b)
	return err == nil && err2 == nil && u.Host != "" && strings.EqualFold(u.Host, v.Host)
}

// origin is the URL by which a request reached us, without a path.
func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// forwardTitle names the requester in the title, since all our requests come
// from one requester there.
func (m *Master) forwardTitle(r *request) (string, error) {
	if r.requester == nil {
		return "user_" + r.title, nil
	}
	title := r.requester.Partition + "_" + r.title
	var err error
	m.state.view(func(t *tx) {
		if _, err = r.asking(t); err != nil {
			return
		}
		if row := t.forwarded(title); row != nil && !samePlace(row.Requester, r.requester) {
			err = &problem{http.StatusConflict, "there is " + title + " already at master " + row.Master + ", which another partition asked for"}
		}
	})
	return title, err
}

func forwardRequest(f *Forward, r *request, title string) slap.Request {
	filter := map[string]any{}
	for k, v := range r.filter {
		if k != "master_url" {
			filter[k] = v
		}
	}
	if f.Computer == "" {
		filter["source_instance_id"] = title
	}
	return slap.Request{
		Reference: title, Software: r.software, Type: r.kind, State: r.state, Shared: r.shared, Parameters: r.parameters, Filter: filter,
	}
}

// forwardProblem is what our client is told of the other master's error.
func forwardProblem(f *Forward, err error) error {
	var status *slap.StatusError
	if errors.As(err, &status) && status.Status < http.StatusInternalServerError {
		return &problem{status.Status, fmt.Sprintf("master %s: %v", f.URL, err)}
	}
	return &problem{statusUnreachable, fmt.Sprintf("master %s cannot be reached: %v", f.URL, err)}
}

// forwardAnswer is the other master's instance, with where it is.
func forwardAnswer(f *Forward, r *request, o *slap.Object) *slap.Object {
	node, partition := slap.Text(o.Attributes, "slap_computer_id"), slap.Text(o.Attributes, "slap_computer_partition_id")
	a := map[string]any{
		"_computer_id": node, "_partition_id": partition, "_request_dict": nil, "_connection_helper": nil, "_hateoas_navigator": nil,
		"_software_release_document": r.software, "_master_url": f.URL,
	}
	for k, v := range o.Attributes {
		if _, ok := a[k]; !ok {
			a[k] = v
		}
	}
	return &slap.Object{Class: "ComputerPartition", Args: slap.Tuple{node, partition, nil}, Attributes: a}
}

// clientOf gives the client of another master.
func (m *Master) clientOf(f *Forward) (*slap.Client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := f.URL + "\x00" + f.Computer + "\x00" + f.Partition
	if c := m.clients[key]; c != nil {
		return c, nil
	}
	c, err := slap.NewClient(slap.ClientOptions{
		URL: f.URL, CA: f.CA, Cert: f.Cert, Key: f.Key, Token: f.Token, As: slap.Place{Computer: f.Computer, Partition: f.Partition}, HTTP: m.o.Client,
	})
	if err != nil {
		return nil, &problem{statusUnreachable, err.Error()}
	}
	m.clients[key] = c
	return c, nil
}
