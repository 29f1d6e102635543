// Package buckets reads streams of values with keys, by key and in the order
// of arrival, as Wendelin's Data Bucket Stream does. docs/format/buckets.md
// draws the entries; policies write them.
package buckets
