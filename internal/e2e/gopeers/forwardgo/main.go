// Forwardgo sends events with IBM's fluent-forward-go to HOST PORT, in each
// mode that it has, and waits for each ack. Then it prints what it sent: a JSON
// list of [tag, seconds, nanoseconds, record]. With KEY in the environment it
// makes the handshake with that shared key.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/IBM/fluent-forward-go/fluent/client"
	"github.com/IBM/fluent-forward-go/fluent/protocol"
)

// count is how many entries, or messages, there are of a mode.
const count = 20

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: forwardgo HOST PORT")
		os.Exit(2)
	}
	rows, err := send(net.JoinHostPort(os.Args[1], os.Args[2]), os.Getenv("KEY"))
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(rows)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "forwardgo:", err)
		os.Exit(1)
	}
}

// send gives the rows that were acknowledged.
func send(address, key string) (rows [][4]any, err error) {
	c := client.New(client.ConnectionOptions{
		Factory:           &client.ConnFactory{Network: "tcp", Address: address, Timeout: 10 * time.Second},
		RequireAck:        true,
		ConnectionTimeout: 10 * time.Second,
	})
	if key != "" {
		c.AuthInfo.SharedKey, c.Hostname = []byte(key), "forwardgo"
	}
	if err := c.Connect(); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer c.Disconnect()
	if key != "" {
		if err := c.Handshake(); err != nil {
			return nil, fmt.Errorf("handshake: %w", err)
		}
	}
	for _, m := range modes {
		list := entries(m.nsec)
		if err := m.send(c, m.tag, list); err != nil {
			return nil, fmt.Errorf("%s: %w", m.tag, err)
		}
		for _, e := range list {
			rows = append(rows, [4]any{m.tag, e.Timestamp.Unix(), e.Timestamp.Nanosecond(), e.Record})
		}
	}
	return rows, nil
}

// modes are the ways to send a list of entries. A message is made only when
// the one before it is sent: in v0.4.0 packed ones share a buffer.
var modes = []struct {
	tag  string
	nsec int64 // what its times end with
	send func(c *client.Client, tag string, l protocol.EntryList) error
}{
	{"ibm.message", 0, func(c *client.Client, tag string, l protocol.EntryList) error {
		return each(l, func(e protocol.EntryExt) error {
			return c.Send(&protocol.Message{Tag: tag, Timestamp: e.Timestamp.Unix(), Record: e.Record})
		})
	}},
	{"ibm.message-ext", 123_456_789, func(c *client.Client, tag string, l protocol.EntryList) error {
		return each(l, func(e protocol.EntryExt) error {
			return c.Send(&protocol.MessageExt{Tag: tag, Timestamp: e.Timestamp, Record: e.Record})
		})
	}},
	{"ibm.forward", 2, (*client.Client).SendForward},
	{"ibm.packed", 999_999_999, (*client.Client).SendPacked},
	{"ibm.compressed", 3, (*client.Client).SendCompressed},
}

func each(l protocol.EntryList, send func(e protocol.EntryExt) error) error {
	for i, e := range l {
		if err := send(e); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
	}
	return nil
}

// entries gives events of times that end with the given nanoseconds.
func entries(nsec int64) (l protocol.EntryList) {
	for i := range count {
		l = append(l, protocol.EntryExt{
			Timestamp: protocol.EventTime{Time: time.Unix(1_700_000_000+int64(i), nsec).UTC()},
			Record: map[string]any{
				"seq": i, "text": "Grüße aus Go", "flag": i%2 == 0, "half": float64(i) / 2, "none": nil,
				"deep": map[string]any{"list": []any{1, "two", 3.5}},
			},
		})
	}
	return l
}
