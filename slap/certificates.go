package slap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
)

// ComputerNamed registers a computer under a title and gives its reference,
// the same one for the same title.
func (c *Client) ComputerNamed(ctx context.Context, title string) (string, error) {
	v, err := c.postValue(ctx, "/requestComputer", url.Values{"computer_title": {title}})
	if err != nil {
		return "", err
	}
	computer, err := toComputer(v)
	if err != nil {
		return "", err
	}
	return computer.ID, nil
}

// ComputerCertificate asks for a computer's certificate. One that is active
// has to be revoked first.
func (c *Client) ComputerCertificate(ctx context.Context, id string) (Certificate, error) {
	v, err := c.postValue(ctx, "/generateComputerCertificate", url.Values{"computer_id": {id}})
	if err != nil {
		return Certificate{}, err
	}
	return toCertificate(v)
}

// RevokeComputer ends a computer's certificate.
func (c *Client) RevokeComputer(ctx context.Context, id string) error {
	_, err := c.Post(ctx, "/revokeComputerCertificate", url.Values{"computer_id": {id}})
	return err
}

// RegisterComputer registers a computer under a title and gives its first
// certificate, whose common name is its reference. At production this is asked
// of the web interface, whose URL is another one than the master's.
func (c *Client) RegisterComputer(ctx context.Context, title string) (Certificate, error) {
	return c.certificate(ctx, "/Person_requestComputer", url.Values{"title": {title}})
}

// UserCertificate gives a certificate of the person whose token the client
// has, from the same interface.
func (c *Client) UserCertificate(ctx context.Context) (Certificate, error) {
	return c.certificate(ctx, "/Person_getCertificate", url.Values{})
}

// certificate reads an answer in JSON.
func (c *Client) certificate(ctx context.Context, path string, form url.Values) (pair Certificate, _ error) {
	b, err := c.Post(ctx, path, form)
	if err != nil {
		return pair, err
	}
	if err := json.Unmarshal(b, &pair); err != nil {
		return pair, fmt.Errorf("slap: %s: the answer is not what was expected: %w", path, err)
	}
	if pair.Certificate == "" || pair.Key == "" {
		return pair, errors.New("slap: " + path + ": the answer holds no certificate and key")
	}
	return pair, nil
}

func toCertificate(v any) (Certificate, error) {
	d, ok := v.(map[string]any)
	if !ok {
		return Certificate{}, unexpected("a certificate", v)
	}
	return Certificate{Text(d, "certificate"), Text(d, "key")}, nil
}

// A CertificateInfo is a certificate that counts, without its text.
type CertificateInfo struct {
	Kind      string `json:"kind"` // computer, user, instance
	Name      string `json:"name"` // of an instance: the computer's
	Partition string `json:"partition,omitempty"`
	Serial    string `json:"serial"`
	At        int64  `json:"at"` // when it was issued, Unix seconds
}

// A Shown is all that weir's own master knows: what "slapos proxy show" tells
// of slapproxy. Rows are those of docs/format/slap.md.
type Shown struct {
	Computers, Partitions, Shared, Forwarded []map[string]any
	Certificates                             []CertificateInfo
}

// Show asks weir's own master for all that it knows; other masters do not
// answer it.
func (c *Client) Show(ctx context.Context) (*Shown, error) {
	b, err := c.Get(ctx, "/weir/show", nil)
	if err != nil {
		return nil, err
	}
	v := new(Shown)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("slap: /weir/show: the answer is not what was expected: %w", err)
	}
	return v, nil
}

// Revoke ends a certificate that weir's own master issued; partition is "" but
// for an instance's.
func (c *Client) Revoke(ctx context.Context, kind, name, partition string) error {
	_, err := c.Post(ctx, "/weir/revoke", url.Values{"kind": {kind}, "name": {name}, "partition": {partition}})
	return err
}
