// Package streams keeps append-only data streams: it is where "durable" is
// decided.
//
// All streams of a Store share one segmented log with group commit. An Append
// returns when its bytes are on stable storage, and only then are they
// visible. Bytes are later folded from the log into chunk files, one set for
// each stream, which never change below their published length.
//
// A stream is named by its reference. Its bytes are counted from 0 within a
// generation; a Reset starts the next generation with an empty stream. The
// package knows bytes, order, checksums and identity, nothing of tags or
// msgpack.
package streams
