// Package lake keeps sets of files, as Wendelin's data lake does for its
// client ebulk.
//
// A file comes whole or in parts. Its parts are appended to one stream of a
// streams.Store; it is in its set from the moment when the last part is
// durable and its size and hash are what the sender said, not before. All else
// that a Lake knows is in the stream _lake, as docs/format/lake.md draws it.
package lake
