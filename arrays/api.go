package arrays

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"weir/internal/vfs"
	"weir/streams"
)

// ErrNotFound: there is no such group, array or key.
var ErrNotFound = errors.New("arrays: not found")

// A Spec says how a stream becomes a group.
type Spec struct {
	// Kind is the decoder: "numbers", "wav" or "metrics".
	Kind string
	// Columns declares columns of kind "metrics" that are not to be inferred:
	// name to "float64" or "category".
	Columns map[string]string
	// Time names the field of kind "metrics" that holds the time; empty is the
	// entry's own time.
	Time string
}

// Validate says what is wrong with the spec; keys are the names of fields as
// the configuration has them (kind, columns.NAME, time).
func (s Spec) Validate() map[string]error { panic("unwritten") }

// Kinds lists the decoders.
func Kinds() []string { panic("unwritten") }

// A Refusal is a range of a stream that a decoder could not use.
type Refusal struct {
	Stream     *streams.Stream
	Generation uint64
	Offset     int64 // of the range's first byte
	Length     int64
	Reason     string // a stable word, such as "not-a-number"
	Detail     string // a sentence for people
	Data       []byte // the beginning of the range, 64 KiB at most
}

// Options of a Store. The zero value is useful.
type Options struct {
	FS vfs.FS // default vfs.OS
	// ChunkBytes is the decoded size of a chunk; default 1 MiB.
	ChunkBytes int
	// SyncEvery bounds how far the last synced state may lag; default 5 s.
	SyncEvery time.Duration
	// CacheBytes bounds the cache of decoded chunks; default 32 MiB.
	CacheBytes int64
	// BootID changes with each start of the machine; default the kernel's.
	// A group whose last writer ran under another one goes back to its synced
	// state.
	BootID string
	// Refuse keeps what a decoder could not use, durably and once for each
	// (stream, generation, offset, reason); the rows around it wait for it.
	// Default: an error that stops the projection.
	Refuse func(context.Context, Refusal) error
	Now    func() time.Time
	Log    *slog.Logger
}

// A Store keeps groups in one folder. All methods are safe for concurrent use.
type Store struct{}

// Open opens or makes the store in dir.
func Open(dir string, o Options) (*Store, error) { panic("unwritten") }

// Close syncs and releases the folder.
func (s *Store) Close() error { panic("unwritten") }

// Advance decodes what the stream has beyond the group of the same name, one
// bounded step, and commits it. more says that another step would find work.
// Steps of one stream never run at the same time; a second caller waits.
func (s *Store) Advance(ctx context.Context, st *streams.Stream, spec Spec) (more bool, err error) {
	panic("unwritten")
}

// An Info describes a group.
type Info struct {
	Name       string      `json:"name"`
	Kind       string      `json:"kind"`
	Generation uint64      `json:"generation"` // of the stream
	Offset     int64       `json:"offset"`     // bytes of the stream that are in the arrays
	Refused    int64       `json:"refused"`    // ranges of the stream that could not be used
	Arrays     []ArrayInfo `json:"arrays"`
	Modified   time.Time   `json:"modified"`
}

// An ArrayInfo describes one array of a group.
type ArrayInfo struct {
	Name       string         `json:"name"`
	DataType   string         `json:"data_type"` // of Zarr v3
	Shape      []int64        `json:"shape"`
	Dimensions []string       `json:"dimensions"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

// Names gives up to limit groups that begin with prefix and sort after the
// given one.
func (s *Store) Names(prefix, after string, limit int) []string { panic("unwritten") }

// Info describes a group as it is published.
func (s *Store) Info(name string) (Info, error) { panic("unwritten") }

// An Object is a key of a group's Zarr hierarchy. The caller closes Body.
type Object struct {
	Body     io.ReadSeekCloser // an *os.File where the object is a whole file
	Size     int64
	ETag     string // strong; changes whenever the bytes may
	Modified time.Time
	Final    bool   // never changes again in this generation of the group
	Type     string // media type
}

// Object gives the bytes of a key such as "zarr.json", "pcm/zarr.json" or
// "pcm/c/0/0"; ErrNotFound for a key that the published state does not have.
func (s *Store) Object(name, key string) (Object, error) { panic("unwritten") }

// A Slice is rows of one array, C order, little endian.
type Slice struct {
	Info  ArrayInfo
	Start int64
	Rows  int64
	Data  []byte
}

// Slice reads rows [start, stop) of an array; negative bounds count from the
// end. It reads no more than max bytes and says in Rows how far it came.
func (s *Store) Slice(name, array string, start, stop int64, max int) (Slice, error) {
	panic("unwritten")
}

// A Plot is a curve reduced to buckets: for each the index of its first row
// and the least and greatest value of the rows in it. X is present where the
// array has a time coordinate, in seconds since 1970 of the first row.
type Plot struct {
	Info  ArrayInfo `json:"info"`
	Index []int64   `json:"index"`
	X     []float64 `json:"x,omitempty"`
	Min   []float64 `json:"min"` // JSON null where a bucket has no number
	Max   []float64 `json:"max"`
}

// Plot reduces rows [start, stop) of one column of an array to at most points
// buckets, in bounded memory and time.
func (s *Store) Plot(name, array string, column int, start, stop int64, points int) (Plot, error) {
	panic("unwritten")
}

// Stats counts since Open.
type Stats struct {
	Groups, Rows, Bytes, Commits, Refused int64
	RefusedByReason                       map[string]int64
	CacheBytes, CacheHits, CacheMisses    int64
}

// Stats gives the counters.
func (s *Store) Stats() Stats { panic("unwritten") }
