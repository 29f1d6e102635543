package slap

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// A Status is what a computer reported last of an instance, a release or
// itself, where the master keeps it.
type Status struct {
	Text  string    // "#access …" or "#error …", with the end of an error's log
	State string    // as it was reported, such as started; "" where the master does not tell
	At    time.Time // zero where the master does not tell
	None  bool      // nothing was reported yet
}

// PartitionStatus gives the status of the instance in a partition. slapproxy
// keeps none and has a text that says so.
func (c *Client) PartitionStatus(ctx context.Context, p Place) (Status, error) {
	return c.status(ctx, "/getComputerPartitionStatus", onPlace(p))
}

// ComputerStatus gives the status of a computer.
func (c *Client) ComputerStatus(ctx context.Context, id string) (Status, error) {
	return c.status(ctx, "/getComputerStatus", url.Values{"computer_id": {id}})
}

// ReleaseStatus gives the status of a release on a computer.
func (c *Client) ReleaseStatus(ctx context.Context, software, computer string) (Status, error) {
	return c.status(ctx, "/getSoftwareInstallationStatus", url.Values{"url": {software}, "computer_id": {computer}})
}

func (c *Client) status(ctx context.Context, path string, query url.Values) (Status, error) {
	v, err := c.getValue(ctx, path, query)
	if err != nil {
		return Status{}, err
	}
	if text, ok := v.(string); ok {
		return Status{Text: text, None: true}, nil
	}
	d, ok := v.(map[string]any)
	if !ok {
		return Status{}, unexpected("a status", v)
	}
	s := Status{Text: Text(d, "text"), State: Text(d, "state"), None: d["no_data"] == int64(1) || d["no_data"] == true}
	if at, ok := d["created_at"].(int64); ok && at > 0 {
		s.At = time.Unix(at, 0)
	}
	return s, nil
}

// TreeAddresses gives interface and address of all partitions of the tree that
// the instance in a partition is in.
func (c *Client) TreeAddresses(ctx context.Context, p Place) ([][2]string, error) {
	v, err := c.getValue(ctx, "/getHostingSubscriptionIpList", onPlace(p))
	if err != nil {
		return nil, err
	}
	if _, ok := v.([]any); !ok {
		return nil, unexpected("a list of addresses", v)
	}
	return pairs(v), nil
}

// ReportShared tells an error of a shared instance that a partition hosts.
func (c *Client) ReportShared(ctx context.Context, p Place, reference, log string) error {
	form := onPlace(p)
	form.Set("slave_reference", reference)
	form.Set("error_log", log)
	_, err := c.On(p).Post(ctx, string(ReportError), form)
	return err
}

// A ComputerInfo is a computer as the hypertext interface lists it.
type ComputerInfo struct {
	Reference string `json:"reference"`
	Title     string `json:"title"`
}

// Computers lists the computers that are registered with the master.
func (c *Client) Computers(ctx context.Context) ([]ComputerInfo, error) {
	root, err := c.root(ctx)
	if err != nil {
		return nil, err
	}
	at := expand(root.Links.Search.Href, "query", `portal_type:"Compute Node" AND validation_state:validated`, "select_list", "title,reference")
	b, err := c.follow(ctx, at, 3)
	if err != nil {
		return nil, err
	}
	var v struct {
		Embedded struct{ Contents []ComputerInfo } `json:"_embedded"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("slap: %s: the answer is not what was expected: %w", at, err)
	}
	return v.Embedded.Contents, nil
}

// HateoasURL is where the master's hypertext interface begins; ErrNotFound from
// one that does not tell, as slapproxy.
func (c *Client) HateoasURL(ctx context.Context) (string, error) {
	b, err := c.Get(ctx, "/getHateoasUrl", nil)
	return strings.TrimSpace(string(b)), err
}
