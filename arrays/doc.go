// Package arrays builds out-of-core arrays from streams and keeps them as Zarr
// v3 groups that any reader opens, on disk or over HTTP, while they grow.
//
// One stream builds one group. A Projection reads the stream from the offset
// that the group itself records, decodes rows, writes them beyond the
// published length and then replaces the group's zarr.json by rename: that
// rename is the commit of rows, source offset and parser state together, so a
// transform runs exactly once however often it is interrupted. Arrays can
// always be rebuilt from their stream.
package arrays
