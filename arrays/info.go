package arrays

import (
	"time"

	"weir/streams"
)

// A Refusal is a range of a stream that a decoder could not use.
//
// Where a stream has many in a small space they are told in one that spans
// them; Detail says how many.
type Refusal struct {
	Stream     *streams.Stream
	Generation uint64
	Offset     int64  // of the range's first byte
	Length     int64  // 0 is up to the next thing of use, not yet known
	Reason     string // a stable word, such as "not-a-number"
	Detail     string // a sentence for people
	Data       []byte // the beginning of the range, 64 KiB at most
}

// An Info describes a group.
type Info struct {
	Name       string      `json:"name"`
	Kind       string      `json:"kind"`
	Generation uint64      `json:"generation"` // of the stream
	Begin      int64       `json:"begin"`      // the byte of the stream that the rows begin with
	Offset     int64       `json:"offset"`     // bytes of the stream that are in the arrays
	Refused    int64       `json:"refused"`    // parts of the stream that could not be used
	Arrays     []ArrayInfo `json:"arrays"`
	Modified   time.Time   `json:"modified"`
}

// An ArrayInfo describes one array of a group.
type ArrayInfo struct {
	Name       string         `json:"name"`
	DataType   string         `json:"data_type"` // of Zarr v3
	Shape      []int64        `json:"shape"`
	Dimensions []string       `json:"dimensions"`
	Attributes map[string]any `json:"attributes,omitempty"` // not to be changed
}

// Info describes a group as it is published.
func (s *Store) Info(name string) (Info, error) {
	v, err := s.look(name)
	if err != nil {
		return Info{}, err
	}
	info := Info{
		Name: name, Kind: v.Spec.Kind, Generation: v.Generation, Begin: v.Begin, Offset: v.Offset,
		Refused: v.Refused, Modified: v.Modified, Arrays: make([]ArrayInfo, len(v.columns)),
	}
	for i, c := range v.columns {
		info.Arrays[i] = v.arrayInfo(c)
	}
	return info, nil
}
