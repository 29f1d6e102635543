package policies

import (
	"strings"
	"testing"
)

// cases are patterns with the tags that match and those that do not.
var cases = []struct {
	pattern  string
	yes, not []string
}{
	{"a", []string{"a"}, []string{"", "b", "aa", "a.", "A"}},
	{"a.b", []string{"a.b"}, []string{"a", "axb", "a.b.c"}},
	{"*", []string{"", "a", "ab"}, []string{"a.b", "."}},
	{"a*", []string{"a", "ab"}, []string{"a.b", "b"}},
	{"a.*", []string{"a.b", "a."}, []string{"a", "a.b.c"}},
	{"*.b", []string{"a.b", ".b"}, []string{"b", "a.a.b"}},
	{"a*c", []string{"ac", "abbc"}, []string{"a.c", "acd"}},
	{"**", []string{"", "a", "a.b", ".", "a\nb"}, nil},
	{"a.**", []string{"a", "a.", "a.b", "a.b.c"}, []string{"ab", "ab.c", "b.a"}},
	{"**.c", []string{"c", "a.c", ".c", "a.b.c"}, []string{"ac", "a.cc", "c.a"}},
	{"a.**.c", []string{"a.c", "a.b.c", "a.b.b.c", "a..c"}, []string{"ac", "a", "ab.c", "a.bc"}},
	{"a**", []string{"a", "ab.c", "a.b"}, []string{"b", "ba"}},
	{"a**.b", []string{"a.x.b", "a.b", "ax.b"}, []string{"ab", "axb", "b"}},
	{"a.**b", []string{"a.b", "a.xb", "a.x.b"}, []string{"ab", "a", "axb"}},
	{"a.*.**", []string{"a.b", "a.b.c", "a."}, []string{"a", "ab"}},
	{"*.**", []string{"a", "a.b", "", ".a"}, nil},
	{"**.**", []string{"a", "a.b", ""}, nil},
	{"a.**.**", []string{"a.", "a.b", "a.b.c"}, []string{"a", "ab"}},
	{"{a,b}", []string{"a", "b"}, []string{"", "c", "ab", "{a,b}"}},
	{"a{,.b}", []string{"a", "a.b"}, []string{"a.", "ab"}},
	{"a.{b,c.*}", []string{"a.b", "a.c.d", "a.c."}, []string{"a.c", "a.c.d.e"}},
	{"{a,b{c,d.**}}", []string{"a", "bc", "bd", "bd.x.y"}, []string{"b", "bcd", "ad"}},
	{"x{a,b", []string{"xa", "xb"}, []string{"x", "x{a,b"}},
	{"x{a{b,c", []string{"xab", "xac"}, []string{"xa"}},
	{"a,b}", []string{"a,b}"}, []string{"a", "b"}},
	{"{}x", []string{"x"}, []string{"", "{}x"}},
	{"{**.a,b}.c", []string{"a.c", "x.a.c", "b.c"}, []string{"xa.c", "x.b.c"}},
	{`a\*`, []string{"a*"}, []string{"a", "ab"}},
	{`\{a,b\}`, []string{"{a,b}"}, []string{"a"}},
	{`{a\,b,c}`, []string{"a,b", "c"}, []string{"a", "b"}},
	{`a\.b`, []string{"a.b"}, []string{"axb"}},
	{`a\`, []string{"a"}, []string{`a\`}},
	{"a[b]?!-c", []string{"a[b]?!-c"}, []string{"ab", "abc"}},
	{"a b.*", []string{"a", "b.c"}, []string{"b", "a b.c"}},
	{"a\t b\n", []string{"a", "b"}, []string{"a b"}},
	{"ä.*", []string{"ä.ö"}, []string{"a.b"}},
	{"/a.c/", []string{"abc", "a.c"}, []string{"abcd", "xabc", "ac"}},
	{"/a|b.*/", []string{"a", "b", "bcd"}, []string{"ab", "ca"}},
	{`/(?i)ab\.\d+/`, []string{"AB.12"}, []string{"ab.", "ab.x"}},
	{"/[[:alpha:]]+/", []string{"abc"}, []string{"a1", ""}},
	{"/x/ **.y", []string{"x", "y", "a.y"}, []string{"xy"}},
	{`\/x`, []string{"/x"}, []string{"x"}},
}

func TestPattern(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		for _, tag := range c.yes {
			if !p.Match(tag) {
				t.Errorf("%q does not match %q", c.pattern, tag)
			}
		}
		for _, tag := range c.not {
			if p.Match(tag) {
				t.Errorf("%q matches %q", c.pattern, tag)
			}
		}
	}
}

func TestPatternRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ pattern, says string }{
		{"", "empty"},
		{" \n", "empty"},
		{"/", "does not end in /"},
		{"a /b", "does not end in /"},
		{"/(/", "not understood"},
		{"/(?!a).*/", "look-ahead"},
		{"/(?=a).*/", "look-ahead"},
		{"/a(?<=a)/", "look-behind"},
		{"/(?<!a)b/", "look-behind"},
		{"/(?>a)/", "atomic"},
		{"/(?#x)a/", "comment"},
		{`/(a)\1/`, "reference"},
		{`/\h+/`, `\h`},
		{`/a\Z/`, `\Z`},
		{"/a{,3}/", "{,n}"},
		{"/[a-z&&[^b]]/", "&&"},
		{"/[a[bc]]/", "nested set"},
		{"/[]&&a]/", "&&"},
		{"/a++/", "not understood"},
		{strings.Repeat("a", maxPattern+1), "too long"},
	} {
		_, err := ParsePattern(c.pattern)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.40q: got %v, want an error with %q", c.pattern, err, c.says)
		}
	}
}
