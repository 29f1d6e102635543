// Package httpapi is weir's HTTP listener: ingestion as Wendelin's clients do
// it, uploads and byte ranges of streams, Zarr keys of arrays, state for
// people and machines, and the page.
//
// It is the only package that knows fasthttp. A 2xx is the return value of a
// durable append; every error path withholds it. Bodies are streamed to the
// store, except ingested chunks, whose bytes in memory are bounded for one
// body and for all of them together.
package httpapi
