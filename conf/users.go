package conf

import (
	"errors"
	"fmt"
	"slices"

	"weir/access"
)

// An HTTPUser may use the HTTP listener.
type HTTPUser struct {
	Username string   `yaml:"username"`
	Password Secret   `yaml:"password"` // itself, or its hash
	Token    Secret   `yaml:"token"`
	Rights   []string `yaml:"rights"`
	Policies []string `yaml:"policies"`
}

// A Grant is what a request without credentials may do.
type Grant struct {
	Rights   []string `yaml:"rights"`
	Policies []string `yaml:"policies"`
}

// user gives the guard's form of a user; rights that are not known are none.
func (u HTTPUser) user() access.User {
	rights, err := access.ParseRights(u.Rights)
	if err == nil && len(u.Rights) == 0 {
		rights = access.Ingest | access.Read
	}
	return access.User{Name: u.Username, Password: u.Password.Value(), Token: u.Token.Value(),
		Grant: access.Grant{Rights: rights, Policies: u.Policies}}
}

// Access gives the options of the guard; ok is false where everybody may do
// everything.
func (h HTTP) Access() (o access.Options, ok bool) {
	for _, u := range h.Users {
		o.Users = append(o.Users, u.user())
	}
	rights, _ := access.ParseRights(h.Anonymous.Rights) // they were checked
	o.Anonymous = access.Grant{Rights: rights, Policies: h.Anonymous.Policies}
	return o, len(h.Users) > 0
}

// users finds what nobody could log in with, and rights to what there is not.
func (d *decoder) users(c *Config) {
	names, tokens := map[string]bool{}, map[string]bool{}
	for i, u := range c.HTTP.Users {
		path := fmt.Sprintf("http.users[%d]", i)
		bad := u.user().Validate()
		if d.source.Offline && (u.Password.Source != "" || u.Token.Source != "") {
			delete(bad, "password") // not read, so not missing
		}
		for field, err := range bad {
			d.at(path+"."+field, err)
		}
		if u.Username != "" && names[u.Username] {
			d.at(path+".username", fmt.Errorf("%q is there already: remove one of them", u.Username))
		}
		if t := u.Token.Value(); t != "" && tokens[t] {
			d.at(path+".token", errors.New("is another user's, too: give each its own"))
		}
		names[u.Username], tokens[u.Token.Value()] = true, true
		d.grant(path, Grant{u.Rights, u.Policies}, c.Policies)
	}
	d.grant("http.anonymous", c.HTTP.Anonymous, c.Policies)
	if a := c.HTTP.Anonymous; len(c.HTTP.Users) == 0 && len(a.Rights) > 0 {
		d.at("http.anonymous.rights", errors.New("bound nothing without users, since everybody may do everything then: name a user, or remove them"))
	} else if len(a.Rights) == 0 && len(a.Policies) > 0 {
		d.at("http.anonymous.policies", errors.New("bound no rights: write anonymous.rights, too"))
	}
}

// grant checks that rights and policies are known.
func (d *decoder) grant(path string, g Grant, list []Policy) {
	for i, word := range g.Rights {
		if _, err := access.ParseRights([]string{word}); err != nil {
			d.at(fmt.Sprintf("%s.rights[%d]", path, i), err)
		}
	}
	for i, name := range g.Policies {
		if !slices.ContainsFunc(list, func(p Policy) bool { return p.Name == name }) {
			d.at(fmt.Sprintf("%s.policies[%d]", path, i), fmt.Errorf("there is no policy %q: name one of the policies", name))
		}
	}
}
