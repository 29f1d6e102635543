package master

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"

	"github.com/tinylib/msgp/msgp"

	"weir/slap"
	"weir/streams"
)

// Streams of what instances used.
const (
	// UsageStream has the journals as they came.
	UsageStream = "_slap.usage"
	// AccountsStream has their movements, one msgpack entry [time, record]
	// each; docs/format/slap.md names the fields.
	AccountsStream = "_slap.accounts"
)

// A usage is a journal that a node sent.
type usage struct {
	Computer string `json:"computer"`
	At       int64  `json:"at"` // Unix seconds
	Journal  string `json:"journal"`
}

// postUsage takes a node's journal of what its instances used.
func (m *Master) postUsage(c *call) (any, error) {
	id, err := c.need("computer_id")
	if err != nil {
		return nil, err
	}
	journal, err := c.need("use_string")
	if err != nil {
		return nil, err
	}
	return ignored, m.usage(c, id, journal)
}

func (m *Master) usage(c *call, id, journal string) error {
	if journal == "" {
		return nil // nothing was used
	}
	j, err := slap.ParseJournal([]byte(journal))
	if err != nil {
		return badRequest("the usage of computer %q: %v", id, err)
	}
	m.state.view(func(t *tx) { _, err = m.find(t, id) })
	if err != nil {
		return err
	}
	return m.state.keepUsage(c.ctx, id, journal, j)
}

// keepUsage keeps a journal and its movements. The same one, sent again since
// its answer was lost, is kept once: either record is known by its key.
func (s *state) keepUsage(ctx context.Context, computer, journal string, j *slap.Journal) error {
	now := s.now().Unix()
	line, err := json.Marshal(usage{computer, now, journal})
	if err != nil {
		return fmt.Errorf("slap: keep usage: %w", err)
	}
	var key streams.Key
	sum := sha256.Sum256([]byte(computer + "\x00" + journal))
	copy(key[:], sum[:])
	var recs []streams.Record
	for name, data := range map[string][]byte{UsageStream: append(line, '\n'), AccountsStream: entries(computer, now, j)} {
		if len(data) == 0 {
			continue
		}
		stream, err := s.store.Create(name, "")
		if err != nil {
			return fmt.Errorf("slap: keep usage: %w", err)
		}
		recs = append(recs, streams.Record{Stream: stream, Data: data, Key: key})
	}
	res := make([]streams.Result, len(recs))
	err = s.store.Append(ctx, recs, res)
	for k := range res {
		if err == nil {
			err = res[k].Err
		}
	}
	if err != nil {
		return fmt.Errorf("slap: keep usage: %w", err)
	}
	return nil
}

// entries are the movements of a journal. An entry's time is the end of its
// period, or, where the node told none, when the journal came.
func entries(computer string, now int64, j *slap.Journal) []byte {
	var b []byte
	for _, t := range j.Transactions {
		at := now
		if !t.Stop.IsZero() {
			at = t.Stop.Unix()
		}
		for _, v := range t.Movements {
			b = msgp.AppendInt64(msgp.AppendArrayHeader(b, 2), at)
			b = appendMovement(b, computer, t, v)
		}
	}
	return b
}

func appendMovement(b []byte, computer string, t slap.Transaction, v slap.Movement) []byte {
	texts := [][2]string{
		{"computer", computer}, {"partition", v.Reference}, {"resource", v.Resource}, {"title", v.Title}, {"category", v.Category},
		{"transaction", t.Reference}, {"currency", t.Currency},
	}
	numbers := []struct {
		name string
		v    float64
	}{{"quantity", v.Quantity}, {"price", v.Price}}
	b = msgp.AppendMapHeader(b, uint32(len(texts)+len(numbers)))
	for _, f := range texts {
		b = msgp.AppendString(msgp.AppendString(b, f[0]), f[1])
	}
	for _, f := range numbers {
		if b = msgp.AppendString(b, f.name); math.IsNaN(f.v) {
			b = msgp.AppendNil(b)
		} else {
			b = msgp.AppendFloat64(b, f.v)
		}
	}
	return b
}
