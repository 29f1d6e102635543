// Package slap speaks the SLAP protocol of SlapOS: its values on the wire, and
// a client of any SLAP master.
//
// A computer (node) offers partitions; software releases are supplied to
// computers; an instance of a release is requested from the master, which
// allocates a partition for it. Requests are idempotent: the same request,
// asked again, gives the instance's present state. A master that has not
// allocated yet answers "please wait", here ErrNotReady.
//
// The XML of bodies is that of the Python library xml_marshaller as
// slapos.core 1.26 uses it; DESIGN.md tells what that means.
package slap
