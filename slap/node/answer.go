package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"weir/internal/replace"
	"weir/slap"
)

// An answer is what the master said last about the computer's partitions. It
// is kept, so that what should run is known while the master is away.
type answer struct {
	Master     string      `json:"master"`
	Computer   string      `json:"computer"`
	Partitions []partition `json:"partitions"`

	at time.Time // of the answer; the file's
}

// A partition is what is kept of one: no parameters, which may be secret.
type partition struct {
	Name      string `json:"name"`
	State     string `json:"state"`
	Software  string `json:"software,omitempty"`
	Timestamp string `json:"timestamp,omitempty"`
	Title     string `json:"title,omitempty"`
}

func (n *Node) answerName() string { return n.state("answer.json") }

// remember keeps an answer. That it cannot is no reason not to go by it.
func (n *Node) remember(c *slap.Computer) {
	a := answer{Master: n.c.Master, Computer: n.c.Computer}
	for _, p := range c.Partitions {
		if !free(p) {
			a.Partitions = append(a.Partitions, partition{p.Place.Partition, p.State, p.Software, p.Timestamp, p.Title})
		}
	}
	b, err := json.Marshal(a)
	if err == nil {
		var old []byte
		if old, err = os.ReadFile(n.answerName()); err == nil && string(old) == string(b) {
			now := n.now()
			err = os.Chtimes(n.answerName(), now, now)
		} else {
			err = replace.File(n.answerName(), b, 0o600)
		}
	}
	if err != nil {
		n.log.Warn("the master's answer is not kept; without the master, what was started before is started", "error", err)
	}
}

// recall gives the last answer, nil when there is none that can be used.
func (n *Node) recall() *answer {
	b, err := os.ReadFile(n.answerName())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var a answer
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err == nil && (a.Master != n.c.Master || a.Computer != n.c.Computer) {
		err = fmt.Errorf("it is of the computer %s at %s", a.Computer, a.Master)
	}
	var info os.FileInfo
	if err == nil {
		info, err = os.Stat(n.answerName())
	}
	if err != nil {
		n.log.Warn("the master's last answer cannot be used", "error", err)
		return nil
	}
	a.at = info.ModTime()
	return &a
}

// state gives the state that a partition was to have, "" when that is not
// known.
func (a *answer) state(name string) string {
	if a == nil {
		return ""
	}
	for _, p := range a.Partitions {
		if p.Name == name {
			return p.State
		}
	}
	return ""
}
