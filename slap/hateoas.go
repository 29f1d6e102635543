package slap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// A Service is an instance that a person asked for: the root of a tree.
type Service struct {
	Title      string         `json:"title"`
	Software   string         `json:"software"`
	Type       string         `json:"type,omitempty"`
	State      string         `json:"state,omitempty"` // asked for; "unused" for a shared one
	Shared     bool           `json:"shared,omitempty"`
	Parameters map[string]any `json:"parameters,omitempty"`
	Connection map[string]any `json:"connection,omitempty"`

	path string
}

// Services lists the services of whoever asks, with title and software only.
func (c *Client) Services(ctx context.Context) ([]Service, error) {
	return c.services(ctx, "")
}

// Service gives one service, or ErrNotFound.
func (c *Client) Service(ctx context.Context, title string) (*Service, error) {
	if strings.Contains(title, `"`) {
		return nil, fmt.Errorf("slap: service %q: a title with quotes cannot be asked for", title)
	}
	list, err := c.services(ctx, title)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: service %q", ErrNotFound, title)
	}
	return c.view(ctx, list[0])
}

// A hypertext document, as far as it is read.
type hypertext struct {
	Links struct {
		Search   struct{ Href string } `json:"raw_search"`
		Traverse struct{ Href string } `json:"traverse"`
	} `json:"_links"`
	Embedded struct {
		Contents []struct {
			Title    string `json:"title"`
			Software string `json:"url_string"`
			Path     string `json:"relative_url"`
		} `json:"contents"`
		View map[string]json.RawMessage `json:"_view"`
	} `json:"_embedded"`
}

// root gives the entry of the hypertext interface.
func (c *Client) root(ctx context.Context) (*hypertext, error) {
	at := c.base + "/hateoas/"
	if b, err := c.Get(ctx, "/getHateoasUrl", nil); err == nil {
		at = strings.TrimSpace(string(b))
	} else if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return c.hypertext(ctx, at)
}

func (c *Client) hypertext(ctx context.Context, at string) (*hypertext, error) {
	b, err := c.follow(ctx, at, 3)
	if err != nil {
		return nil, err
	}
	h := new(hypertext)
	if err := json.Unmarshal(b, h); err != nil {
		return nil, fmt.Errorf("slap: %s: the answer is not what was expected: %w", at, err)
	}
	return h, nil
}

// follow gets a URL, through a few redirections on the same host.
func (c *Client) follow(ctx context.Context, at string, hops int) ([]byte, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("slap: the master names %q, which is no http or https URL", at)
	}
	other := *c
	other.base = u.Scheme + "://" + u.Host
	if base, err := url.Parse(c.base); err != nil || base.Host != u.Host || base.Scheme == "https" && u.Scheme != "https" {
		other.token = "" // it is for the master alone, and not in the clear where TLS is spoken
	}
	b, location, err := other.exchange(ctx, http.MethodGet, u.RequestURI(), "", nil)
	var status *StatusError
	if errors.As(err, &status) && status.Status/100 == 3 && hops > 0 {
		to, parseErr := u.Parse(location)
		if parseErr == nil && to.Host == u.Host {
			return other.follow(ctx, to.String(), hops-1)
		}
	}
	return b, err
}

func expand(template string, values ...string) string {
	for k := 0; k < len(values); k += 2 {
		template = strings.ReplaceAll(template, "{"+values[k]+"}", url.QueryEscape(values[k+1]))
	}
	return template
}

func (c *Client) services(ctx context.Context, title string) ([]Service, error) {
	root, err := c.root(ctx)
	if err != nil {
		return nil, err
	}
	query := `portal_type:"Instance Tree" AND validation_state:validated`
	if title != "" {
		query += ` AND title:="` + title + `"`
	}
	h, err := c.hypertext(ctx, expand(root.Links.Search.Href, "query", query, "select_list", "title,url_string,relative_url"))
	if err != nil {
		return nil, err
	}
	list := make([]Service, 0, len(h.Embedded.Contents))
	for _, row := range h.Embedded.Contents {
		list = append(list, Service{Title: row.Title, Software: row.Software, path: row.Path})
		if title != "" {
			list[len(list)-1].path = expand(root.Links.Traverse.Href, "relative_url", row.Path, "view", "slaposjs_view")
		}
	}
	return list, nil
}

// view fills in what the view of a service has.
func (c *Client) view(ctx context.Context, s Service) (*Service, error) {
	h, err := c.hypertext(ctx, s.path)
	if err != nil {
		return nil, err
	}
	field := func(name string) (v any) {
		var f struct{ Default any }
		if json.Unmarshal(h.Embedded.View["my_"+name], &f) == nil {
			v = f.Default
		}
		return v
	}
	texts := func(name string) string { t, _ := field(name).(string); return t }
	s.Software, s.Type, s.State = texts("url_string"), texts("source_reference"), texts("slap_state")
	s.Shared = field("root_slave") == 1.0
	if s.Parameters, err = parameterField(field("text_content")); err != nil {
		return nil, err
	}
	s.Connection, err = parameterField(field("connection_parameter_list"))
	return &s, err
}

// parameterField reads parameters in either form: a document, or production's
// list of keys and values.
func parameterField(v any) (map[string]any, error) {
	m := map[string]any{}
	switch v := v.(type) {
	case string:
		p, err := ParseParameters([]byte(v))
		if err != nil {
			return nil, err
		}
		return p.Values(), nil
	case []any:
		for _, row := range v {
			if d, ok := row.(map[string]any); ok {
				m[Text(d, "connection_key")] = d["connection_value"]
			}
		}
	}
	return m, nil
}
