package demo

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"
	"github.com/tinylib/msgp/msgp"
)

// piece is how much of a file one record holds, as @type bin reads it.
const piece = 64 << 10

// put uploads bytes to a stream as curl -T does.
func (d *demo) put(ctx context.Context, name string, b []byte) error {
	_, err := d.do(ctx, http.MethodPut, "/streams/"+url.PathEscape(name), b)
	return err
}

// post ingests a chunk as @type wendelin does: the tag is not escaped.
func (d *demo) post(ctx context.Context, policy, tag string, chunk []byte) error {
	_, err := d.do(ctx, http.MethodPost, "/erp5/portal_ingestion_policies/"+policy+"/ingest?reference="+tag, chunk)
	return err
}

// do makes a request and gives the answer's body; anything but 2xx is an error.
func (d *demo) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	answer, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("demo: %s %s: %w", method, path, err)
	}
	if answer.StatusCode/100 != 2 {
		return nil, fmt.Errorf("demo: %s %s: %s: %s", method, path, answer.Status, bytes.TrimSpace(b))
	}
	return b, nil
}

// forward sends bytes by the forward protocol, a record {"message": piece}
// for each piece, and waits for every acknowledgement.
func (d *demo) forward(tag string, b []byte) (pieces int, err error) {
	host, port, err := net.SplitHostPort(d.o.Forward)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0, err
	}
	l, err := fluent.New(fluent.Config{FluentHost: host, FluentPort: n, RequestAck: true, SubSecondPrecision: true})
	if err != nil {
		return 0, err
	}
	for len(b) > 0 && err == nil {
		p := b[:min(piece, len(b))]
		err = l.Post(tag, map[string]any{"message": p})
		b = b[len(p):]
		pieces++
	}
	if closeErr := l.Close(); err == nil {
		err = closeErr
	}
	return pieces, err
}

// appendEntry encodes [EventTime, {field: text}].
func appendEntry(b []byte, at time.Time, fields [][2]string) []byte {
	b = append(b, 0x92, 0xd7, 0x00) // array of 2; ext of 8 bytes, type 0
	b = binary.BigEndian.AppendUint32(b, uint32(at.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(at.Nanosecond()))
	b = msgp.AppendMapHeader(b, uint32(len(fields)))
	for _, f := range fields {
		b = msgp.AppendString(msgp.AppendString(b, f[0]), f[1])
	}
	return b
}

// appendText encodes [0, text], as a sender of plain text does.
func appendText(b []byte, text string) []byte {
	return msgp.AppendString(append(b, 0x92, 0x00), text)
}

// lines writes numbers from 0 on, ten a line.
func lines(last int) string {
	var s strings.Builder
	for i := range last + 1 {
		s.WriteString(strconv.Itoa(i))
		if i%10 == 9 || i == last {
			s.WriteByte('\n')
		} else {
			s.WriteByte(',')
		}
	}
	return s.String()
}
