package streams

import (
	"errors"
	"log/slog"
	"time"

	"weir/internal/vfs"
)

// Errors that callers test for.
var (
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("streams: store is closed")
	// ErrNoSpace: the disk has no room; nothing of the append was kept.
	ErrNoSpace = errors.New("streams: no space left for a segment")
	// ErrUnknown: the outcome of an append is not known. The caller repeats it
	// with the same key, here or after a restart.
	ErrUnknown = errors.New("streams: outcome unknown")
	// ErrExpect: the stream's length, or its generation, is not what the append
	// expected.
	ErrExpect = errors.New("streams: length or generation is not the expected one")
	// ErrGeneration: the stream was reset since the generation asked for.
	ErrGeneration = errors.New("streams: generation is gone")
	// ErrTrimmed: the bytes were given up; State says where the stream begins.
	ErrTrimmed = errors.New("streams: bytes were trimmed")
	// ErrHole: bytes of the range were lost to a damaged file.
	ErrHole = errors.New("streams: bytes were lost to damage")
	// ErrName: a stream's name is empty, too long, or reserved.
	ErrName = errors.New("streams: bad name")
)

// MaxName is the longest name of a stream, in bytes.
const MaxName = 1024

// Options of a Store. The zero value is useful.
type Options struct {
	FS vfs.FS // default vfs.OS
	// SegmentBytes is the size of a log segment; default 64 MiB.
	SegmentBytes int64
	// LiveSegments is how many full segments stay before the oldest is folded
	// into chunk files and recycled; default 3.
	LiveSegments int
	// LogAge is how long what is appended stays in the log at most, as long as
	// appends come: then the segment counts as full, and is folded whatever
	// LiveSegments says. 0 is no bound.
	LogAge time.Duration
	// LargeBytes is the size from which an append goes to a chunk file of its
	// own, with only a reference in the log; default 1 MiB.
	LargeBytes int
	// ChunkBytes is the size at which a chunk file is sealed; default 64 MiB.
	ChunkBytes int64
	// Keys bounds how many append keys are remembered; default 1 << 20.
	Keys int
	// KeyAge is how long an append key is remembered at least, unless Keys is
	// exceeded; default 24 h.
	KeyAge time.Duration
	// MinFree is the free space, in bytes, below which appends are refused
	// with ErrNoSpace; default 64 MiB. Folds and trims use it, new segments do not.
	MinFree int64
	// Work runs the store's work in the background, so that its owner sees it;
	// default runs it.
	Work func(what string, do func() error) error
	Now  func() time.Time // default time.Now
	Log  *slog.Logger     // default discards

	// For tests: up to how many streams a fold writes side by side, and from
	// how many bytes in a batch, and in several, commits write to chunk files, and
	// in what pieces.
	together            int
	busyBytes, runEager int64
	runPiece            int64
}

// A Key identifies an append to one stream, for all time that Options allow:
// an append whose key the stream has seen is answered and not stored again.
// The zero Key identifies nothing.
type Key [16]byte

// A Record is one append. Data is copied before Append returns.
type Record struct {
	Stream *Stream
	Data   []byte
	// Body, when it is set, stands for Data.
	Body *Staged
	Key  Key
	// Expect, when Conditional is set, is the length that the stream must
	// have; else the record is refused with ErrExpect.
	Expect      int64
	Conditional bool
	// Within, when it is not 0, is the generation that a Conditional record
	// expects: another one may be as long.
	Within uint64
	// Reset starts a new generation, in which Data is the beginning; a stream
	// without a record is at the beginning of its first one.
	Reset bool
}

// A Result tells where a record is. When Err is nil the record is durable.
type Result struct {
	Generation uint64
	Offset     int64 // of the record's first byte
	Duplicate  bool  // the key was seen before; nothing was stored now
	Err        error // ErrExpect, ErrClosed, ErrNoSpace, ErrUnknown
}

// A State is what a stream is at one moment. Only durable bytes count.
type State struct {
	Generation uint64
	Begin      int64     // offset of the first byte that was not trimmed
	Length     int64     // offset of the end; a trim does not change it
	Records    int64     // appends in this generation
	Modified   time.Time // of the last append
}

// A Chunk is a range of a stream's bytes in one file, or in the log.
type Chunk struct {
	Offset  int64  `json:"offset"`
	Length  int64  `json:"length"`
	Records int64  `json:"records"`
	Sealed  bool   `json:"sealed"` // its file never changes again
	Log     bool   `json:"log"`    // still in the shared log
	CRC32C  string `json:"crc32c,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	// Since and Until are the times of its first and last append; zero where
	// they are not known: in the log, and of what weir kept before it noted them.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// An Upload is what Stream.Upload kept.
type Upload struct {
	Result
	Length int64
	SHA256 [32]byte
}

// UploadOptions say how a body joins a stream; the fields are Record's.
type UploadOptions struct {
	Key         Key // with the bytes: the same key with other bytes is another upload
	Expect      int64
	Conditional bool
	Within      uint64
	Reset       bool
	// Length is the number of bytes announced, -1 when unknown. A body that
	// ends early or goes on is refused with io.ErrUnexpectedEOF, nothing kept.
	Length int64
}
