// Package master is a standalone SLAP master: it keeps which computers and
// partitions there are, which software is supplied to them and which instance
// runs where, and answers the real slapos command line, library and nodes.
//
// State is a model in memory. A change is one record of a stream, and is
// answered when that record is durable: whatever happens, a start finds all
// of a change or nothing of it. DESIGN.md tells why, and where this master
// differs from slapproxy on purpose; docs/format/slap.md draws the record.
package master
