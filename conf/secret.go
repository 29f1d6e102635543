package conf

import (
	"fmt"
	"path/filepath"
	"strings"
)

// A Secret is a value that is never printed. In the file it is the value
// itself, "file:PATH" (relative to the configuration's folder) or "env:NAME".
type Secret struct {
	// Source is "file:PATH" or "env:NAME"; empty for a value in the file.
	Source string
	value  string
}

// Value is the secret itself.
func (s Secret) Value() string { return s.value }

// String does not tell the secret.
func (s Secret) String() string {
	if s.Source != "" {
		return s.Source
	}
	if s.value == "" {
		return ""
	}
	return "********"
}

// GoString does not tell the secret either.
func (s Secret) GoString() string { return s.String() }

// secret reads a secret from where the text says.
func (d *decoder) secret(text string) (Secret, error) {
	path, isFile := strings.CutPrefix(text, "file:")
	name, isEnv := strings.CutPrefix(text, "env:")
	s := Secret{Source: text}
	switch {
	case isFile && d.source.Offline, isEnv && d.source.Offline:
		return s, nil
	case isFile:
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(d.file), path)
		}
		b, err := d.source.ReadFile(path)
		if err != nil {
			return s, fmt.Errorf("secret cannot be read: %w", err)
		}
		s.value = strings.TrimRight(string(b), "\r\n")
		if s.value == "" {
			return s, fmt.Errorf("secret file %s is empty", path)
		}
	case isEnv:
		v, _ := d.source.Getenv(name)
		if v == "" {
			return s, fmt.Errorf("environment variable %s of the secret is not set", name)
		}
		s.value = v
	default:
		return Secret{value: text}, nil
	}
	return s, nil
}
