// Package tags reads what a tag names: the data supply that it comes from, the
// data product that it is, the ingestion that takes it, and the stream. The
// grammars are those that Wendelin ships, and patterns of a policy's own.
package tags
