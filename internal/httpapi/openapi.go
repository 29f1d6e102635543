package httpapi

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
)

//go:embed openapi
var contractFiles embed.FS

// A contractPart is what one file in openapi/ adds: paths, and what these
// refer to. base.json has the head, too.
type contractPart struct {
	OpenAPI    string                                `json:"openapi,omitempty"`
	Info       json.RawMessage                       `json:"info,omitempty"`
	Paths      map[string]json.RawMessage            `json:"paths"`
	Components map[string]map[string]json.RawMessage `json:"components,omitempty"`
}

// A contract is the OpenAPI document that tells all routes.
type contract struct {
	json []byte
	etag string
}

// newContract joins the files in openapi/. A path or a component that two of
// them have is a mistake.
func newContract() (contract, error) {
	files, err := contractFiles.ReadDir("openapi")
	if err != nil {
		return contract{}, err
	}
	whole := contractPart{Paths: map[string]json.RawMessage{}, Components: map[string]map[string]json.RawMessage{}}
	for _, f := range files {
		b, err := contractFiles.ReadFile("openapi/" + f.Name())
		if err == nil {
			err = whole.add(b)
		}
		if err != nil {
			return contract{}, fmt.Errorf("httpapi: openapi/%s: %w", f.Name(), err)
		}
	}
	b, err := json.MarshalIndent(whole, "", " ")
	sum := sha256.Sum256(b)
	return contract{append(b, '\n'), `"` + hex.EncodeToString(sum[:8]) + `"`}, err
}

func (whole *contractPart) add(b []byte) error {
	var part contractPart
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&part); err != nil {
		return err
	}
	if part.OpenAPI != "" {
		whole.OpenAPI, whole.Info = part.OpenAPI, part.Info
	}
	if err := addNew(whole.Paths, part.Paths); err != nil {
		return err
	}
	for kind, list := range part.Components {
		if whole.Components[kind] == nil {
			whole.Components[kind] = map[string]json.RawMessage{}
		}
		if err := addNew(whole.Components[kind], list); err != nil {
			return err
		}
	}
	return nil
}

func addNew(to, from map[string]json.RawMessage) error {
	for name := range from {
		if _, ok := to[name]; ok {
			return fmt.Errorf("%s is there twice", name)
		}
	}
	maps.Copy(to, from)
	return nil
}

// tellContract answers with the OpenAPI document.
func (r *request) tellContract() error {
	c := r.s.contract
	return r.send(resource{
		size: int64(len(c.json)), etag: c.etag, kind: "application/json",
		open: func(sp span) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(c.json[sp.start:sp.end])), nil
		},
	})
}
