package jobs

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// attributes give what can be asked for and ordered by. A missing one has no values.
var attributes = map[string]func(*Job) []any{
	"id":                     func(j *Job) []any { return texts(j.ID) },
	"resourceURI":            func(j *Job) []any { return texts(j.ResourceURI) },
	"created":                func(j *Job) []any { return texts(j.Created) },
	"updated":                func(j *Job) []any { return texts(j.Updated) },
	"name":                   func(j *Job) []any { return texts(j.Name) },
	"description":            func(j *Job) []any { return texts(j.Description) },
	"state":                  func(j *Job) []any { return texts(string(j.State)) },
	"action":                 func(j *Job) []any { return texts(j.Action) },
	"progress":               func(j *Job) []any { return []any{int64(j.Progress)} },
	"targetResource/href":    func(j *Job) []any { return references(j.Target) },
	"affectedResources/href": func(j *Job) []any { return hrefs(j.Affected) },
	"returnCode":             func(j *Job) []any { return numbers(j.ReturnCode) },
	"statusMessage":          func(j *Job) []any { return texts(j.StatusMessage) },
	"timeOfStatusChange":     func(j *Job) []any { return texts(j.TimeOfStatus) },
	"parentJob":              func(j *Job) []any { return texts(j.Parent) },
	"nestedJobs":             func(j *Job) []any { return texts(j.Nested...) },
	"priority":               func(j *Job) []any { return numbers(j.Priority) },
	"started":                func(j *Job) []any { return texts(j.Started) },
	"duration":               func(j *Job) []any { return numbers(j.Duration) },
	"executionMode":          func(j *Job) []any { return texts(cmp.Or(j.Mode, ModePush)) },
	"version":                func(j *Job) []any { return []any{int64(j.Version)} },
	"executor":               func(j *Job) []any { return texts(j.Executor) },
	"attempt":                func(j *Job) []any { return []any{int64(j.Attempt)} },
	"acl/owner/principal":    func(j *Job) []any { return owners(j.ACL) },
}

// attribute finds one by its name, in either engine's spelling.
func attribute(name string) (func(*Job) []any, bool) {
	of, ok := attributes[name]
	if !ok {
		of, ok = attributes[Camel(name)]
	}
	return of, ok
}

// Camel spells a name such as target-resource as SlipStream did: targetResource.
func Camel(name string) string {
	words := strings.Split(name, "-")
	for i, w := range words {
		if i > 0 && w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}

// Kebab spells a name such as targetResource as the later engine does:
// target-resource.
func Kebab(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('-')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func texts(all ...string) []any {
	var out []any
	for _, s := range all {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

func numbers[T int | int64](p *T) []any {
	if p == nil {
		return nil
	}
	return []any{int64(*p)}
}

func references(r *Reference) []any {
	if r == nil {
		return nil
	}
	return texts(r.Href)
}

func hrefs(list []Reference) []any {
	var out []any
	for _, r := range list {
		out = append(out, r.Href)
	}
	return out
}

func owners(a *ACL) []any {
	if a == nil {
		return nil
	}
	return texts(a.Owner.Principal)
}

// MaxPage is the largest number of jobs in one answer.
const MaxPage = 10_000

// A Query asks for jobs. The zero value asks for the first MaxPage of all.
type Query struct {
	Filters []string // all must hold
	OrderBy []string // "attribute", "attribute:asc", "attribute:desc"
	First   string   // number of the first job, from 1; empty is 1
	Last    string   // of the last one, inclusive; "0" asks for the count alone
	// Visible hides jobs that it is false for; nil hides none.
	Visible func(*Job) bool
}

// A Page is the answer to a Query.
type Page struct {
	Count int // before paging
	Jobs  []Job
}

// Query finds jobs, those of more included. Jobs without an order come in the
// order of their creation.
func (s *Store) Query(q Query, more []Job) (Page, error) {
	match, err := q.filter(s.o.Now())
	if err != nil {
		return Page{}, err
	}
	first, last, err := q.window()
	if err != nil {
		return Page{}, err
	}
	order, err := q.order()
	if err != nil {
		return Page{}, err
	}
	var found []*Job
	keep := func(j *Job) {
		if (q.Visible == nil || q.Visible(j)) && match(j) {
			found = append(found, j)
		}
	}
	s.each(keep)
	for i := range more {
		keep(&more[i])
	}
	p := Page{Count: len(found)}
	from, to := min(first-1, len(found)), min(last, len(found))
	if from < to {
		slices.SortFunc(found, order)
		for _, j := range found[from:to] {
			p.Jobs = append(p.Jobs, *j)
		}
	}
	return p, nil
}

// filter joins the filters.
func (q Query) filter(now time.Time) (filter, error) {
	var all []filter
	for _, text := range q.Filters {
		f, err := parseFilter(text, now)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return func(j *Job) bool {
		for _, f := range all {
			if !f(j) {
				return false
			}
		}
		return true
	}, nil
}

// window gives the numbers of the first and the last job.
func (q Query) window() (first, last int, err error) {
	if first, err = whole("$first", q.First, 1); err != nil {
		return 0, 0, err
	}
	if first < 1 {
		return 0, 0, invalid("$first is %d; the first job is 1", first)
	}
	if last, err = whole("$last", q.Last, first+MaxPage-1); err != nil {
		return 0, 0, err
	}
	if last < 0 || last-first >= MaxPage {
		return 0, 0, invalid("$first=%d and $last=%d are no page of at most %d jobs", first, last, MaxPage)
	}
	return first, last, nil
}

func whole(name, text string, missing int) (int, error) {
	if text == "" {
		return missing, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, invalid("%s is %.40q, no whole number", name, text)
	}
	return int(n), nil
}

// order compares two jobs as the query wants.
func (q Query) order() (func(a, b *Job) int, error) {
	type key struct {
		of   func(*Job) []any
		sign int
	}
	var keys []key
	for _, list := range q.OrderBy {
		for _, one := range strings.Split(list, ",") {
			name, direction, _ := strings.Cut(strings.TrimSpace(one), ":")
			of, ok := attribute(name)
			if !ok || direction != "" && direction != "asc" && direction != "desc" {
				return nil, invalid("$orderby: %.40q is not attribute:asc or attribute:desc", one)
			}
			k := key{of, 1}
			if direction == "desc" {
				k.sign = -1
			}
			keys = append(keys, k)
		}
	}
	return func(a, b *Job) int {
		for _, k := range keys {
			if c := compareFirst(k.of(a), k.of(b)); c != 0 {
				return k.sign * c
			}
		}
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.ID, b.ID))
	}, nil
}

// compareFirst orders by the first value; a missing one comes first.
func compareFirst(a, b []any) int {
	if len(a) == 0 || len(b) == 0 {
		return cmp.Compare(len(a), len(b))
	}
	c, _ := compare(a[0], b[0])
	return c
}
