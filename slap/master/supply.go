package master

import (
	"slices"
	"strings"
)

func (m *Master) postSupply(c *call) (any, error) {
	var url, id, state string
	for field, to := range map[string]*string{"url": &url, "computer_id": &id, "state": &state} {
		v, err := c.need(field)
		if err != nil {
			return nil, err
		}
		*to = v
	}
	url = m.product(url)
	err := m.supply(c, id, url, state)
	return text("Supplied '" + url + "' to be " + state), err
}

// product gives the release of product.NAME, and any other text as it is: the
// slapos tools look the name up themselves, but for "slapos remove".
func (m *Master) product(url string) string {
	if name, ok := strings.CutPrefix(url, "product."); ok && m.o.Products[name] != "" {
		return m.o.Products[name]
	}
	return url
}

// supply asks a node to install or to remove a release. The node need not be
// known yet: it finds the supply when it comes.
func (m *Master) supply(c *call, id, url, state string) error {
	if state != available && state != destroyed {
		return badRequest("state %q is none of available, destroyed", state)
	}
	if err := checkName("the computer", id); err != nil {
		return err
	}
	if err := checkText("the software release", url); err != nil {
		return err
	}
	return m.state.update(c.ctx, func(t *tx) error {
		n := node{ID: id}
		if old := t.node(id); old != nil {
			n = *old
		}
		k := slices.IndexFunc(n.Releases, func(r release) bool { return r.URL == url })
		if k >= 0 && n.Releases[k].State == state {
			return nil
		}
		n.Releases = slices.Clone(n.Releases)
		if k < 0 {
			n.Releases = append(n.Releases, release{URL: url, State: state})
		} else {
			n.Releases[k].State = state
		}
		t.putNode(n)
		return nil
	})
}

// onRelease runs a transaction about a release of a node; k is its index. A
// report of a release that is not supplied is ignored: the supply may have
// ended while the node was at work.
func (m *Master) onRelease(c *call, run func(t *tx, n node, k int)) error {
	url, err := c.need("url")
	if err != nil {
		return err
	}
	id, err := c.need("computer_id")
	if err != nil {
		return err
	}
	return m.release(c, id, url, run)
}

func (m *Master) release(c *call, id, url string, run func(t *tx, n node, k int)) error {
	return m.state.update(c.ctx, func(t *tx) error {
		n, err := m.find(t, id)
		if err != nil {
			return err
		}
		k := slices.IndexFunc(n.Releases, func(r release) bool { return r.URL == url })
		if k < 0 {
			return nil
		}
		row := *n
		row.Releases = slices.Clone(n.Releases)
		run(t, row, k)
		return nil
	})
}

// releaseReport keeps what a node tells of a release.
func releaseReport(state string) func(*Master, *call) (any, error) {
	return func(m *Master, c *call) (any, error) {
		return ignored, m.onRelease(c, reportRelease(state, c.values.Get("error_log")))
	}
}

func reportRelease(state, message string) func(*tx, node, int) {
	message = tail(message)
	return func(t *tx, n node, k int) {
		r := &n.Releases[k]
		if r.Status == state && r.Error == message {
			return
		}
		r.Status, r.Error, r.At = state, message, t.now
		t.putNode(n)
	}
}

// dropRelease takes a release off its node's list.
func dropRelease(t *tx, n node, k int) {
	n.Releases = slices.Delete(n.Releases, k, k+1)
	t.putNode(n)
}

func (m *Master) postReleaseDestroyed(c *call) (any, error) {
	return text("OK"), m.onRelease(c, dropRelease)
}
