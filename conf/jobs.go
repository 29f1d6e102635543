package conf

import (
	"errors"
	"fmt"
)

// jobs finds users that could not log in.
func (d *decoder) jobs(j Jobs) {
	seen := make(map[string]bool)
	for i, u := range j.Users {
		path := fmt.Sprintf("jobs.users[%d]", i)
		switch {
		case u.Username == "":
			d.at(path+".username", errors.New("is empty: name the user"))
		case seen[u.Username]:
			d.at(path+".username", fmt.Errorf("%q is there already: remove one of them", u.Username))
		}
		seen[u.Username] = true
		if u.Password.Value() == "" && !(d.source.Offline && u.Password.Source != "") {
			d.at(path+".password", errors.New("is empty: write a password, file:PATH or env:NAME"))
		}
	}
}
