package cimi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"weir/jobs"
)

// The engine that came after SlipStream's spells attributes in kebab-case, has
// other access rules, and calls the jobs of a collection resources. It is known
// by the cookie of its session, and by "template" where it logs in.
const kebabCookie = "com.sixsq.nuvla.cookie"

// kebab tells whether a request is of the later engine.
func (r Request) kebab() bool {
	list, err := http.ParseCookie(r.Cookie)
	return err == nil && slices.ContainsFunc(list, func(c *http.Cookie) bool { return c.Name == kebabCookie })
}

// adminGroup is the later engine's name of the role ADMIN.
const adminGroup = "group/nuvla-admin"

// fromKebab gives the job, or its change, in the spelling of SlipStream. What is
// no JSON object stays what it is, to be refused by who reads it.
func fromKebab(body []byte) []byte {
	var given map[string]json.RawMessage
	if json.Unmarshal(body, &given) != nil || given == nil {
		return body
	}
	out := map[string]json.RawMessage{}
	for name, value := range given {
		switch name {
		case "resource-type", "created-by", "updated-by", "tags", "subtype":
		case "acl":
			var acl struct {
				Owners []string `json:"owners"`
			}
			if json.Unmarshal(value, &acl) != nil || len(acl.Owners) == 0 {
				out[name] = value
				continue
			}
			list := jobs.ACL{Owner: principalOf(acl.Owners[0])}
			for _, o := range acl.Owners[1:] {
				list.Rules = append(list.Rules, jobs.Rule{Principal: principalOf(o), Right: "ALL"})
			}
			out[name] = encode(list)
		default:
			out[jobs.Camel(name)] = value
		}
	}
	return encode(out)
}

func principalOf(name string) jobs.Principal {
	if name == adminGroup {
		return jobs.Principal{Principal: "ADMIN", Type: "ROLE"}
	}
	if role, ok := strings.CutPrefix(name, "group/nuvla-"); ok {
		return jobs.Principal{Principal: strings.ToUpper(role), Type: "ROLE"}
	}
	return jobs.Principal{Principal: name, Type: "USER"}
}

func ownerName(p jobs.Principal) string {
	if p.Type == "ROLE" {
		return "group/nuvla-" + strings.ToLower(p.Principal)
	}
	return p.Principal
}

// toKebab gives an answer in the later engine's spelling.
func toKebab(body []byte) []byte {
	var given map[string]json.RawMessage
	if json.Unmarshal(body, &given) != nil {
		return body
	}
	if list, ok := given["jobs"]; ok && given["count"] != nil {
		var all []json.RawMessage
		if json.Unmarshal(list, &all) != nil {
			return body
		}
		for i := range all {
			all[i] = toKebab(all[i])
		}
		delete(given, "jobs")
		delete(given, "resourceURI")
		given["resources"], given["resource-type"] = encode(all), encode("job-collection")
		return encode(given)
	}
	var uri string
	if json.Unmarshal(given["resourceURI"], &uri) != nil || uri != jobs.ResourceURI {
		return body
	}
	return encode(kebabJob(given))
}

// kebabJob spells one job.
func kebabJob(given map[string]json.RawMessage) map[string]json.RawMessage {
	out := map[string]json.RawMessage{
		"resource-type": encode("job"), "execution-mode": encode(jobs.ModePush), "version": encode(jobs.Version),
	}
	for name, value := range given {
		switch name {
		case "resourceURI":
		case "properties":
			var p map[string]string
			if json.Unmarshal(value, &p) == nil && len(p) > 0 {
				tags := []string{}
				for _, path := range p {
					tags = append(tags, path)
				}
				out["tags"] = encode(tags)
			}
		case "acl":
			var acl jobs.ACL
			if json.Unmarshal(value, &acl) == nil {
				owners := []string{ownerName(acl.Owner)}
				for _, r := range acl.Rules {
					if r.Right == "ALL" {
						owners = append(owners, ownerName(r.Principal))
					}
				}
				out["acl"], out["created-by"] = encode(map[string]any{"owners": owners}), encode(owners[0])
			}
		default:
			out[jobs.Kebab(name)] = value
		}
	}
	return out
}
