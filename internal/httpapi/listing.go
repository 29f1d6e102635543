package httpapi

import (
	"strconv"
	"strings"
	"time"

	"weir/streams"
)

// Bounds of a listing.
const (
	listDefault = 1000
	listMost    = 10000
)

// A streamInfo is a stream in a listing.
type streamInfo struct {
	Name       string    `json:"name"`
	Generation uint64    `json:"generation"`
	Begin      int64     `json:"begin"` // what lies before it was trimmed
	Length     int64     `json:"length"`
	Records    int64     `json:"records"`
	Modified   time.Time `json:"modified"`
}

// listStreams lists streams by name: ?prefix=, ?after= and ?limit=.
func (r *request) listStreams() error {
	limit, err := r.limit()
	if err != nil {
		return err
	}
	names := r.s.Streams.Names(r.target.value("prefix"), r.target.value("after"), limit)
	answer := struct {
		Streams []streamInfo `json:"streams"`
		Next    string       `json:"next,omitempty"` // for ?after=, when there may be more
	}{Streams: r.s.streamInfos(names)}
	if len(names) == limit {
		answer.Next = names[limit-1]
	}
	return r.json(answer)
}

func (s *Server) streamInfos(names []string) []streamInfo {
	list := make([]streamInfo, 0, len(names))
	for _, name := range names {
		if st, state := s.existing(name); st != nil {
			list = append(list, streamInfo{name, state.Generation, state.Begin, state.Length, state.Records, state.Modified})
		}
	}
	return list
}

// limit reads ?limit=.
func (r *request) limit() (int, error) {
	text := r.target.value("limit")
	if text == "" {
		return listDefault, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > listMost {
		return 0, refuse(400, "bad-query", "limit=%s is no number between 1 and %d", text, listMost)
	}
	return n, nil
}

// listChunks lists where the bytes of a stream are.
func (r *request) listChunks() error {
	escaped, _ := r.target.under("/streams")
	name, err := unescape(strings.TrimSuffix(escaped, chunksSuffix))
	if err != nil {
		return refuse(400, "bad-encoding", "the name %q is badly percent-encoded", escaped)
	}
	st, state := r.s.existing(name)
	if st == nil {
		return noStream(name)
	}
	chunks := st.Chunks()
	if chunks == nil {
		chunks = []streams.Chunk{}
	}
	return r.json(struct {
		Stream     string          `json:"stream"`
		Generation uint64          `json:"generation"`
		Begin      int64           `json:"begin"`
		Length     int64           `json:"length"`
		Records    int64           `json:"records"`
		Chunks     []streams.Chunk `json:"chunks"`
	}{name, state.Generation, state.Begin, state.Length, state.Records, chunks})
}
