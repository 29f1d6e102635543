// Package ledger has what the states share that are kept as records in a
// stream of their own (jobs, catalog, lake, the SLAP master): how changes wait
// for one append that makes all of them durable, and how records are read when
// the state is opened. What is in a record, and when a snapshot takes the place
// of a stream's history, is each state's own.
package ledger
