// Package records shows what streams hold in forms for people and programs
// that do not know msgpack: a record a line as JSON, and rows of CSV.
//
// An entry [time, record] is {"time": …, "record": …}, the time in RFC 3339
// with all its nanoseconds. Nothing of a record is lost but what JSON cannot
// have: infinities and numbers that are none are null, bytes that are no
// UTF-8 are {"base64": …}.
package records
