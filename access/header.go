package access

import (
	"bytes"
	"encoding/base64"
)

// Schemes of an Authorization header.
const (
	schemeNone = iota // none that is known, or broken
	schemeBasic
	schemeBearer
)

// credentials are what an Authorization header says.
type credentials struct {
	scheme         int
	name, password []byte // of a token only the password
}

// parse reads a header; what comes out may be in room, which holds the name
// and password of Basic.
func parse(authorization, room []byte) credentials {
	scheme, rest, _ := bytes.Cut(authorization, []byte(" "))
	rest = bytes.TrimSpace(rest)
	switch {
	case bytes.EqualFold(scheme, []byte("bearer")):
		if len(rest) == 0 || len(rest) > maxPassword {
			return credentials{}
		}
		return credentials{scheme: schemeBearer, password: rest}
	case bytes.EqualFold(scheme, []byte("basic")):
		if base64.StdEncoding.DecodedLen(len(rest)) > len(room) {
			return credentials{}
		}
		n, err := base64.StdEncoding.Decode(room, rest)
		name, password, ok := bytes.Cut(room[:n], []byte(":"))
		if err != nil || !ok || len(name) > maxPassword || len(password) > maxPassword {
			return credentials{}
		}
		return credentials{schemeBasic, name, password}
	}
	return credentials{}
}
