package forward

import (
	"sync"
	"sync/atomic"
)

// Stats counts since NewServer, but for Connections, which counts those that
// are open.
type Stats struct {
	Connections, Accepted int64
	Messages              map[string]int64 // kept, by the name of their mode
	Signals               int64            // of Messages, metrics and traces
	Records               int64            // entries of kept messages
	Bad                   int64            // bad parts of kept messages
	Bytes                 int64            // of kept messages, on the wire
	Inflated              int64            // bytes that came out of decompression
	Acks                  int64            // written
	Markers               int64            // group markers, which are no events
	Mismatched            int64            // messages whose size option is not the number of their entries
	Heartbeats            int64            // answered datagrams
	InFlight              int64            // bytes that connections hold now
	Refused               map[string]Count // by reason
	Handshakes            map[string]int64 // that failed, by reason
}

// A Count is of messages, or connections, and their bytes.
type Count struct{ Messages, Bytes int64 }

// counters are what Stats is read from.
type counters struct {
	open, accepted, signals, records, bad, bytes    atomic.Int64
	inflated, acks, markers, mismatched, heartbeats atomic.Int64
	messages                                        [modes]atomic.Int64

	mu         sync.Mutex
	refused    map[string]Count
	handshakes map[string]int64
}

// refuse counts a refused message.
func (c *counters) refuse(reason string, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		c.refused = map[string]Count{}
	}
	n := c.refused[reason]
	n.Messages++
	n.Bytes += int64(bytes)
	c.refused[reason] = n
}

// fail counts a failed handshake.
func (c *counters) fail(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handshakes == nil {
		c.handshakes = map[string]int64{}
	}
	c.handshakes[reason]++
}

// keep counts kept messages.
func (c *counters) keep(msgs []Message) {
	var records, bad, bytes int64
	for i := range msgs {
		m := &msgs[i]
		records += int64(m.Records)
		bad += int64(len(m.Bad))
		bytes += int64(m.Size)
		c.messages[m.Mode].Add(1)
		if m.Signal != 0 {
			c.signals.Add(1)
		}
	}
	c.records.Add(records)
	c.bad.Add(bad)
	c.bytes.Add(bytes)
}

// Stats gives the counters.
func (s *Server) Stats() Stats {
	c := &s.count
	t := Stats{
		Connections: c.open.Load(), Accepted: c.accepted.Load(),
		Messages: map[string]int64{}, Signals: c.signals.Load(), Records: c.records.Load(),
		Bad: c.bad.Load(), Bytes: c.bytes.Load(), Inflated: c.inflated.Load(), Acks: c.acks.Load(),
		Markers: c.markers.Load(), Mismatched: c.mismatched.Load(), Heartbeats: c.heartbeats.Load(),
		Refused: map[string]Count{}, Handshakes: map[string]int64{},
	}
	for m := range modes {
		t.Messages[m.String()] = c.messages[m].Load()
	}
	c.mu.Lock()
	for k, v := range c.refused {
		t.Refused[k] = v
	}
	for k, v := range c.handshakes {
		t.Handshakes[k] = v
	}
	c.mu.Unlock()
	s.budget.mu.Lock()
	t.InFlight = s.budget.used
	s.budget.mu.Unlock()
	return t
}
