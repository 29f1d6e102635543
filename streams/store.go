package streams

import (
	"context"
	"io"
)

// A Store keeps streams in one folder. All methods are safe for concurrent use.
type Store struct{}

// A Stream is a handle of one stream of a Store; it stays valid until Close.
type Stream struct{}

// Open opens or makes the store in dir and recovers what a crash left.
func Open(dir string, o Options) (*Store, error) { panic("unwritten") }

// Close commits what was taken, and releases the folder.
func (s *Store) Close() error { panic("unwritten") }

// Stream gives the handle of an existing stream.
func (s *Store) Stream(name string) (*Stream, bool) { panic("unwritten") }

// Create gives the handle of a stream and makes it when it is missing. The
// stream and its label, an opaque text, become durable with its first append.
// The label of an existing stream stays what it is.
func (s *Store) Create(name, label string) (*Stream, error) { panic("unwritten") }

// Names gives up to limit names of streams that begin with prefix and sort
// after the given one.
func (s *Store) Names(prefix, after string, limit int) []string { panic("unwritten") }

// Append keeps records, in order for each stream, with one commit, and writes
// what became of recs[i] to res[i]. It returns when each is durable or has an
// Err; the error is the first of them. Records of one call are independent.
// The context bounds only the wait for room: what was taken is waited for.
func (s *Store) Append(ctx context.Context, recs []Record, res []Result) error { panic("unwritten") }

// Changes begins to tell which streams grow. Close it when done.
func (s *Store) Changes() *Changes { panic("unwritten") }

// A Changes is a set of streams that grew since the last Next.
type Changes struct{}

// Next waits until a stream grew and gives all that did, each once.
func (c *Changes) Next(ctx context.Context) ([]*Stream, error) { panic("unwritten") }

// Close ends the watch.
func (c *Changes) Close() { panic("unwritten") }

// Name is the stream's reference.
func (st *Stream) Name() string { panic("unwritten") }

// Label is the text that the stream was made with.
func (st *Stream) Label() string { panic("unwritten") }

// State is what the stream is now; only durable bytes count.
func (st *Stream) State() State { panic("unwritten") }

// ReadAt reads durable bytes of a generation. It gives io.EOF at the end of
// the stream and ErrGeneration after a Reset.
func (st *Stream) ReadAt(generation uint64, p []byte, off int64) (int, error) { panic("unwritten") }

// Reader reads the bytes [off, end) of a generation. It implements
// io.WriterTo, which hands whole files to the kernel where it can.
func (st *Stream) Reader(generation uint64, off, end int64) (io.ReadCloser, error) {
	panic("unwritten")
}

// Upload keeps the whole of r as one record, in bounded memory: a large body
// goes to a chunk file of its own. Nothing is kept when it fails.
func (st *Stream) Upload(ctx context.Context, r io.Reader, o UploadOptions) (Upload, error) {
	panic("unwritten")
}

// Chunks lists where the bytes of the present generation are.
func (st *Stream) Chunks() []Chunk { panic("unwritten") }

// Stats counts since Open.
type Stats struct {
	Streams, Records, Bytes, Duplicates, Refused int64
	Commits                                      int64
	CommitSeconds                                Histogram // one write and fdatasync
	FoldedBytes, Segments                        int64
	Keys                                         int64
	Failed                                       string // why appends fail now; empty when they do not
	Free                                         int64  // bytes free on the disk
	Recovery                                     Recovery
}

// A Recovery is what Open found.
type Recovery struct {
	Clean            bool // the last Close was orderly
	Records, Bytes   int64
	CutBytes         int64    // of a commit that was never acknowledged
	QuarantinedFiles []string // damaged parts, set aside
}

// A Histogram counts values in buckets; Bounds[i] is the upper bound of Counts[i].
type Histogram struct {
	Bounds []float64
	Counts []int64
	Sum    float64
}

// Stats gives the counters.
func (s *Store) Stats() Stats { panic("unwritten") }

// KeyOf makes a key from an identity, such as a sender's chunk id.
func KeyOf(parts ...[]byte) Key { panic("unwritten") }
