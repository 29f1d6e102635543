package conf

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir/jobs"
)

// Distributions gives the schedules' distributions, those of default.yaml unless
// others are written; what is never due is left out.
func (j Jobs) Distributions() []jobs.Distribution {
	all := Default().Jobs.Schedules
	maps.Copy(all, j.Schedules)
	var list []jobs.Distribution
	for _, action := range slices.Sorted(maps.Keys(all)) {
		if s, err := jobs.ParseSchedule(all[action]); err == nil && !s.Never() {
			list = append(list, jobs.Distribution{Action: action, Schedule: s})
		}
	}
	return list
}

// jobs finds what an executor could not work with, and users that could not
// log in.
func (d *decoder) jobs(j Jobs) {
	if j.Threads < 1 {
		d.at("jobs.threads", errors.New("is too small: write 1 or more"))
	}
	if j.Timeout < 0 {
		d.at("jobs.timeout", errors.New("is negative: write 0 for no bound"))
	}
	for action, bound := range j.Timeouts {
		if bound < 0 {
			d.at("jobs.timeouts."+action, errors.New("is negative: write 0 for no bound"))
		}
	}
	if j.Grace <= 0 {
		d.at("jobs.grace", errors.New("is no time: write how long, such as 2m"))
	}
	for action, text := range j.Schedules {
		path := "jobs.schedules." + action
		if _, err := jobs.ParseSchedule(text); err != nil {
			d.at(path, err)
		}
		if action == "" || len(action) > 200 || strings.ContainsAny(action, "/'\"\n") {
			d.at(path, fmt.Errorf("%q is no name of an action", action))
		}
	}
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
