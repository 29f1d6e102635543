package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/tinylib/msgp/msgp"
)

// An entry is one event of a tag, as a sender gave it.
type entry struct {
	sec, nsec uint32
	record    any
}

// encode appends [EventTime, record].
func (e entry) encode(b []byte) []byte {
	b = msgp.AppendArrayHeader(b, 2)
	b = append(b, 0xd7, 0x00)
	b = binary.BigEndian.AppendUint32(b, e.sec)
	b = binary.BigEndian.AppendUint32(b, e.nsec)
	b, err := msgp.AppendIntf(b, e.record)
	if err != nil {
		panic(err)
	}
	return b
}

func encode(entries ...entry) []byte {
	var b []byte
	for _, e := range entries {
		b = e.encode(b)
	}
	return b
}

// packed is a PackedForward message with a chunk id, none when it is empty.
func packed(tag string, entries []byte, chunk string) []byte {
	b := msgp.AppendArrayHeader(nil, 3)
	b = msgp.AppendString(b, tag)
	b = msgp.AppendBytes(b, entries)
	return appendOption(b, "chunk", chunk)
}

// compressed is the same with gzip.
func compressed(tag string, entries []byte, chunk string) []byte {
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	zw.Write(entries)
	zw.Close()
	b := msgp.AppendArrayHeader(nil, 3)
	b = msgp.AppendString(b, tag)
	b = msgp.AppendBytes(b, z.Bytes())
	return appendOption(b, "chunk", chunk, "compressed", "gzip")
}

func appendOption(b []byte, pairs ...string) []byte {
	n := 0
	for i := 1; i < len(pairs); i += 2 {
		if pairs[i] != "" {
			n++
		}
	}
	b = msgp.AppendMapHeader(b, uint32(n))
	for i := 1; i < len(pairs); i += 2 {
		if pairs[i] != "" {
			b = msgp.AppendString(b, pairs[i-1])
			b = msgp.AppendString(b, pairs[i])
		}
	}
	return b
}

// ackOf is the answer to a chunk.
func ackOf(chunk string) []byte {
	return msgp.AppendString(append(msgp.AppendMapHeader(nil, 1), 0xa3, 'a', 'c', 'k'), chunk)
}

// A wire is a connection of a hand-made sender.
type wire struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*wire, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &wire{c, bufio.NewReader(c)}, nil
}

func mustDial(t testing.TB, addr string) *wire {
	t.Helper()
	c, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ack reads one {"ack": chunk}.
func (c *wire) ack(limit time.Duration) (string, error) {
	c.SetReadDeadline(time.Now().Add(limit))
	head, err := c.r.Peek(6)
	if err != nil {
		return "", err
	}
	if !bytes.Equal(head[:5], []byte("\x81\xa3ack")) {
		return "", fmt.Errorf("not an ack: % x", head)
	}
	skip, n := 6, int(head[5]&31)
	if head[5] == 0xd9 {
		if head, err = c.r.Peek(7); err != nil {
			return "", err
		}
		skip, n = 7, int(head[6])
	}
	b := make([]byte, skip+n)
	_, err = io.ReadFull(c.r, b)
	return string(b[skip:]), err
}

// send writes a message and requires its ack.
func (c *wire) send(t testing.TB, message []byte, chunk string) {
	t.Helper()
	c.write(t, message)
	if chunk == "" {
		return
	}
	got, err := c.ackBytes(len(ackOf(chunk)))
	if err != nil || !bytes.Equal(got, ackOf(chunk)) {
		t.Fatalf("ack of chunk %q: got % x, %v", chunk, got, err)
	}
}

func (c *wire) write(t testing.TB, b []byte) {
	t.Helper()
	c.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// ackBytes reads n bytes.
func (c *wire) ackBytes(n int) ([]byte, error) {
	c.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, n)
	m, err := io.ReadFull(c.r, b)
	return b[:m], err
}

// closed waits for the server to close the connection and gives what it said
// before.
func (c *wire) closed(t testing.TB) []byte {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c.r)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Fatalf("the connection is still open after %v", patience)
	}
	return b
}

// A frame is what a captured sender put in one message: what must be kept of it.
type frame struct {
	tag     string
	entries []byte // [time, record] back to back, as they came
	signal  bool   // metrics or traces: no entries
	chunk   bool   // it asks for an acknowledgement
}

// readFrame takes one message from b.
func readFrame(b []byte) (f frame, rest []byte, err error) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return f, nil, err
	}
	tag, b, err := msgp.ReadStringZC(b)
	if err != nil {
		return f, nil, err
	}
	f.tag = string(tag)
	body := b
	if b, err = msgp.Skip(b); err != nil {
		return f, nil, err
	}
	body = body[:len(body)-len(b)]
	at := 2
	switch msgp.NextType(body) {
	case msgp.BinType, msgp.StrType:
		f.entries, err = content(body)
	case msgp.ArrayType:
		_, f.entries, err = msgp.ReadArrayHeaderBytes(body)
	default:
		at = 3
		from := b
		if b, err = msgp.Skip(b); err != nil {
			return f, nil, err
		}
		f.entries = append(append([]byte{0x92}, body...), from[:len(from)-len(b)]...)
	}
	if err != nil || int(n) == at {
		return f, b, err
	}
	option, b, err := msgp.ReadIntfBytes(b)
	if err != nil {
		return f, nil, err
	}
	if m, ok := option.(map[string]any); ok {
		if f.entries, err = expand(m["compressed"], f.entries); err != nil {
			return f, nil, err
		}
		f.chunk = m["chunk"] != nil
		f.signal = m["fluent_signal"] != nil && fmt.Sprint(m["fluent_signal"]) != "0"
	}
	return f, b, err
}

func content(b []byte) ([]byte, error) {
	if msgp.NextType(b) == msgp.BinType {
		v, _, err := msgp.ReadBytesZC(b)
		return v, err
	}
	v, _, err := msgp.ReadStringZC(b)
	return v, err
}

func expand(kind any, b []byte) ([]byte, error) {
	switch kind {
	case "gzip":
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	case "zstd":
		r, err := zstd.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	return b, nil
}

// An event is an entry read back from a stream.
type event struct {
	sec, nsec int64
	record    any
}

// events decodes the bytes of a verbatim stream.
func events(t testing.TB, b []byte) []event {
	t.Helper()
	var list []event
	for len(b) > 0 {
		e, rest, err := readEvent(b)
		if err != nil {
			t.Fatalf("event %d of the stream: %v", len(list), err)
		}
		list = append(list, e)
		b = rest
	}
	return list
}

func readEvent(b []byte) (e event, rest []byte, err error) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil || n != 2 {
		return e, nil, fmt.Errorf("not an entry: array of %d, %v", n, err)
	}
	if msgp.NextType(b) == msgp.ArrayType { // [time, metadata]
		whole := b
		if _, b, err = msgp.ReadArrayHeaderBytes(b); err != nil {
			return e, nil, err
		}
		if e.sec, e.nsec, _, err = readTime(b); err != nil {
			return e, nil, err
		}
		if b, err = msgp.Skip(whole); err != nil {
			return e, nil, err
		}
	} else if e.sec, e.nsec, b, err = readTime(b); err != nil {
		return e, nil, err
	}
	e.record, b, err = msgp.ReadIntfBytes(b)
	return e, b, err
}

func readTime(b []byte) (sec, nsec int64, rest []byte, err error) {
	switch {
	case len(b) >= 10 && b[0] == 0xd7 && b[1] == 0:
		return int64(binary.BigEndian.Uint32(b[2:])), int64(binary.BigEndian.Uint32(b[6:])), b[10:], nil
	case len(b) >= 11 && b[0] == 0xc7 && b[1] == 8 && b[2] == 0:
		return int64(binary.BigEndian.Uint32(b[3:])), int64(binary.BigEndian.Uint32(b[7:])), b[11:], nil
	case msgp.NextType(b) == msgp.Float64Type:
		f, rest, err := msgp.ReadFloat64Bytes(b)
		return int64(f), int64((f - float64(int64(f))) * 1e9), rest, err
	}
	sec, rest, err = msgp.ReadInt64Bytes(b)
	return sec, 0, rest, err
}
