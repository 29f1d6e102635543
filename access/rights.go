package access

import (
	"fmt"
	"slices"
	"strings"
)

// Rights are a set of what somebody may do.
type Rights uint8

const (
	// Ingest allows to add data, and to replace it.
	Ingest Rights = 1 << iota
	// Read allows to see data, lists, metrics and the page.
	Read
	// Admin allows everything.
	Admin
)

// words are the rights as a configuration writes them.
var words = []struct {
	word  string
	right Rights
}{{"ingest", Ingest}, {"read", Read}, {"admin", Admin}}

// ParseRights reads a list of ingest, read and admin.
func ParseRights(list []string) (Rights, error) {
	var r Rights
	for _, text := range list {
		one, err := parseRight(text)
		if err != nil {
			return 0, err
		}
		r |= one
	}
	return r, nil
}

func parseRight(text string) (Rights, error) {
	for _, w := range words {
		if w.word == text {
			return w.right, nil
		}
	}
	return 0, fmt.Errorf("%q is no right: write ingest, read or admin", text)
}

// String lists the rights as a configuration writes them.
func (r Rights) String() string {
	var list []string
	for _, w := range words {
		if r&w.right != 0 {
			list = append(list, w.word)
		}
	}
	return strings.Join(list, ", ")
}

// A Grant is what somebody may do.
type Grant struct {
	Rights Rights
	// Policies bound the rights to the data of some policies, by name; none
	// bounds nothing.
	Policies []string
}

// A Caller is somebody whom a Guard knows.
type Caller struct {
	Name string // of the user; "" is whoever names nobody
	Grant
}

// May tells whether the caller may do something whatever the policy, or to
// the data of some policy if Bounded.
func (c *Caller) May(right Rights) bool { return c.Rights&(right|Admin) != 0 }

// Bounded tells whether the caller may only touch the data of some policies.
func (c *Caller) Bounded() bool { return len(c.Policies) > 0 }

// Covers tells whether the caller's rights reach a policy's data.
func (c *Caller) Covers(policy string) bool {
	return !c.Bounded() || slices.Contains(c.Policies, policy)
}
