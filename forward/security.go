package forward

import (
	"errors"
	"fmt"
	"net/netip"
)

// Security asks connections for the handshake with a shared key.
type Security struct {
	// Hostname is the server's own name; a sender of the same name refuses it.
	Hostname  string
	SharedKey string
	// UserAuth also asks for a user's password.
	UserAuth bool
	Users    []User
	// DenyAnonymous refuses addresses that no client covers.
	DenyAnonymous bool
	// Clients are rules for addresses; the first that covers one holds.
	Clients []Client
}

// A User may send. Several users of one name are several passwords.
type User struct{ Name, Password string }

// A Client is a rule for the addresses of a network.
type Client struct {
	Network netip.Prefix
	// SharedKey holds instead of the common one, when it is not empty.
	SharedKey string
	// Users are the names that may send from here; none is all.
	Users []string
}

// validate says what is wrong, by field.
func (s *Security) validate() map[string]error {
	bad := map[string]error{}
	if s.Hostname == "" {
		bad["self_hostname"] = errors.New("is missing")
	}
	if s.SharedKey == "" {
		bad["shared_key"] = errors.New("is missing")
	}
	if s.UserAuth && len(s.Users) == 0 {
		bad["user"] = errors.New("user_auth asks for a user, and there is none")
	}
	names := map[string]bool{}
	for i, u := range s.Users {
		if u.Name == "" {
			bad[fmt.Sprintf("user[%d].username", i)] = errors.New("is missing")
		}
		names[u.Name] = true
	}
	for i, c := range s.Clients {
		if !c.Network.IsValid() {
			bad[fmt.Sprintf("client[%d].network", i)] = errors.New("is missing or no network")
		}
		for _, u := range c.Users {
			if !names[u] {
				bad[fmt.Sprintf("client[%d].users", i)] = fmt.Errorf("there is no user %q", u)
			}
		}
	}
	return bad
}
