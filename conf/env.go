package conf

import (
	"fmt"
	"strings"
)

// expand replaces ${VAR}, ${VAR:-default} and ${VAR:?message} in a value; $${
// is ${ itself. What is put in is not expanded again.
func expand(s string, getenv func(string) (string, bool)) (string, error) {
	var out strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			out.WriteString(s)
			return out.String(), nil
		}
		if i > 0 && s[i-1] == '$' {
			out.WriteString(s[:i-1] + "${")
			s = s[i+2:]
			continue
		}
		out.WriteString(s[:i])
		inner, rest, ok := strings.Cut(s[i+2:], "}")
		if !ok {
			return "", fmt.Errorf("%q has no closing }: write ${NAME}, or $${ for the text ${", s[i:])
		}
		v, err := variable(inner, getenv)
		if err != nil {
			return "", err
		}
		out.WriteString(v)
		s = rest
	}
}

// variable gives the value of what is between the braces. As in a shell, the
// forms with a colon take an empty variable for a missing one.
func variable(inner string, getenv func(string) (string, bool)) (string, error) {
	name, rest, colon := strings.Cut(inner, ":")
	if !isName(name) {
		return "", fmt.Errorf("${%s} does not name an environment variable: write ${NAME}, ${NAME:-default} or ${NAME:?message}", inner)
	}
	if colon && !strings.HasPrefix(rest, "-") && !strings.HasPrefix(rest, "?") {
		return "", fmt.Errorf("${%s} is not understood: write ${NAME}, ${NAME:-default} or ${NAME:?message}", inner)
	}
	v, set := getenv(name)
	if !colon {
		if !set {
			return "", fmt.Errorf("environment variable %s is not set: set it, or write ${%s:-default}", name, name)
		}
		return v, nil
	}
	if v != "" {
		return v, nil
	}
	if rest[0] == '?' {
		return "", fmt.Errorf("environment variable %s is not set: %s", name, rest[1:])
	}
	return rest[1:], nil
}

func isName(s string) bool {
	for i, c := range s {
		if !(c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return s != ""
}
