package conf

import (
	"maps"
	"testing"
)

// TestDeploy: what an instance is told.
func TestDeploy(t *testing.T) {
	t.Parallel()
	c, found := Parse("test.yaml", []byte(`
http: {users: [{username: sender, token: 0123456789abcdef}]}
slap: {listen: "127.0.0.1:5000"}
forward: {tls: {cert_file: c, key_file: k}, security: {self_hostname: h, shared_key: k, user_auth: true, users: [{username: alice, password: p}]}}
policies:
  - {name: sensors, match: "sensors.** other.*", deploy: {release: product.monitor, user: alice, http_user: sender, parameters: {item: "True", weir-http: mine}}}
  - {name: plain, match: plain, deploy: {release: "http://sr", reference: mine, tag: told}}
`), Source{})
	if len(found) > 0 {
		t.Fatal(found)
	}
	want := map[string]string{
		"weir-policy": "sensors", "weir-tag": "sensors", "weir-forward": "f:1", "weir-http": "mine", "weir-shared-key": "k",
		"weir-user": "alice", "weir-password": "p", "weir-tls": "true", "weir-token": "0123456789abcdef", "item": "True",
	}
	if got := c.DeployParameters(c.Policies[0], "f:1", "http://h"); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if p := c.Policies[0]; p.DeployReference() != "sensors" {
		t.Errorf("reference %q", p.DeployReference())
	}
	if p := c.Policies[1]; p.DeployReference() != "mine" || p.DeployTag() != "told" {
		t.Errorf("reference %q, tag %q", p.DeployReference(), p.DeployTag())
	}
	for match, tag := range map[string]string{"a": "a", "a.b.**": "a.b", "a.*": "a", "**": "", "a.{b,c}.**": "", "*.a": "", "a.*.b": "", "a.*.**": "a"} {
		if got := (Policy{Match: match, Deploy: &Deploy{}}).DeployTag(); got != tag {
			t.Errorf("match %q gives the tag %q, want %q", match, got, tag)
		}
	}
}
