package policies

import (
	"errors"
	"log/slog"
	"time"

	"weir/arrays"
	"weir/catalog"
	"weir/streams"
	"weir/tags"
)

// Errors that callers test for.
var (
	// ErrUnknownPolicy: no policy has that name.
	ErrUnknownPolicy = errors.New("policies: unknown policy")
	// ErrUnmatched: no policy's pattern matches the tag.
	ErrUnmatched = errors.New("policies: no policy matches the tag")
	// ErrTag: the tag cannot name a stream.
	ErrTag = errors.New("policies: bad tag")
	// ErrData: the body is not what the policy takes.
	ErrData = errors.New("policies: bad data")
	// ErrTooLarge: the batch is larger than its policy allows.
	ErrTooLarge = errors.New("policies: batch is too large")
	// ErrConflict: the stream belongs to another policy.
	ErrConflict = errors.New("policies: stream belongs to another policy")
)

// Keep says what of a record goes to the stream.
type Keep string

const (
	// Verbatim keeps the msgpack entries, [time, record] back to back, as they came.
	Verbatim Keep = "verbatim"
	// Text keeps the text of each record: a string as it is; of a map the
	// policy's field, ended by a line feed where it has none.
	Text Keep = "text"
	// Bytes keeps the bytes of each record: a string or binary as it is; of a
	// map the policy's field, with nothing added.
	Bytes Keep = "bytes"
	// Decoded keeps each record as Python's str gives it, with nothing between
	// them: a string as it is, a map as {'a': 1}.
	Decoded Keep = "decoded"
	// Buckets keeps, of the records of a batch with the same key, the policy's
	// field, joined by line feeds, as the value of that key; see buckets.
	Buckets Keep = "buckets"
	// Messages keeps of each record a title, the policy's key, and a payload,
	// its field.
	Messages Keep = "messages"
)

// A Policy is one ingestion policy.
type Policy struct {
	Name  string
	Match string // fluentd patterns, separated by white space
	Keep  Keep
	// Field of a record that is a map; empty takes the first of message, log,
	// text, data, value that is there, or the only field.
	Field string
	// Key is the field of a record that is the key of its bucket, of which the
	// last part after a slash counts, or the title of a message; empty is
	// filepath, and topic.
	Key string
	// Array is what is built from the stream; nil is nothing.
	Array *arrays.Spec
	// Dedupe is "chunk", the sender's chunk id or Idempotency-Key, or
	// "content", which also takes an equal body for the same one.
	Dedupe string
	// Check is CheckEntries, the default, or CheckEnvelope: a message is kept
	// in its frame as it came and looked at when it is read. The stream then
	// holds frames of the forward protocol back to back; Router.Entries opens
	// them.
	Check string
	// Grammar says what tags name; nil takes every tag for the name of its
	// stream and asks for no data supply.
	Grammar *tags.Spec
	// Unknown takes data of supplies and products that nobody defined.
	Unknown bool
	// MaxBytes bounds one batch; 0 is the listener's bound.
	MaxBytes int64
	// Retention says how much of each stream is kept; zero is all of it.
	Retention streams.Limit
}

// A Refused is a part of a batch that is no entry.
type Refused struct {
	Reason string // a stable word, such as "bad-record"
	Detail string
	Data   []byte
}

// A Batch is what one sender's chunk, message or body holds for one tag. Its
// bytes are copied before Keep returns.
type Batch struct {
	Tag    string
	Policy string // by name, instead of by the tag; empty routes
	// Entries are msgpack values [time, record] back to back, well formed, or
	// with Raw the bytes of a body of which nothing is known.
	Entries []byte
	Raw     bool
	// Body, when it is set, stands for Entries, with Raw: it is read in bounded
	// memory. The caller discards it after Keep.
	Body *streams.Staged
	// Take is asked before memory is used for more than a little of a Body, in
	// bytes; its error refuses the batch. nil is never asked.
	Take func(bytes int64) error
	// Framed says that Entries are one frame of the forward protocol, for a
	// policy that checks the envelope alone.
	Framed  bool
	Records int // entries; 0 is unknown
	// ID is the sender's identity of the batch (chunk id, Idempotency-Key);
	// empty is none.
	ID      []byte
	Peer    string // address, for dead letters and logs
	Claim   string // host name that the peer gave for its own, for logs; empty is none
	Refused []Refused
}

// A Kept is what became of a batch. When Err is nil all of it is durable: in
// the stream, or its refused parts in the dead letters.
type Kept struct {
	Policy     string
	Stream     *streams.Stream // nil when nothing but dead letters was kept
	Generation uint64
	Offset     int64
	Length     int64
	Duplicate  bool
	Dead       int // parts that went to the dead letters
	Err        error
}

// Options of a Router.
type Options struct {
	Policies []Policy       // in order; none is Default
	Streams  *streams.Store // may be nil where only Route and Explain are asked
	// Catalog is asked before data is taken by a policy with a grammar; nil
	// lets it all in.
	Catalog *catalog.Store
	Now     func() time.Time
	Log     *slog.Logger
}

// Default is the policy of a weir without configuration: every tag, verbatim.
func Default() Policy { return Policy{Name: "default", Match: "**", Keep: Verbatim} }

// A Dead is a dead letter.
type Dead struct {
	Policy, Tag, Peer string
	Reason, Detail    string
	Stream            string // where the bytes also are, if anywhere
	Generation        uint64
	Offset, Length    int64
	Data              []byte
	ID                []byte
}

// Stats counts since New.
type Stats struct {
	Policies  map[string]PolicyStats
	Refused   map[string]Count // by reason, told to the sender or not
	Unmatched map[string]int64 // by tag, the most frequent only
}

// A Count is of records, where they are known, and bytes.
type Count struct{ Records, Bytes int64 }

// PolicyStats counts for one policy.
type PolicyStats struct{ Batches, Records, Bytes, Duplicates, Dead int64 }
