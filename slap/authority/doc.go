// Package authority is the certificate authority of a SLAP master: one key in
// a folder, from which certificates of computers, users, instances and of the
// master's own listener are issued.
//
// It knows how a certificate is made, not which ones count: the master keeps
// the serial numbers of those that do.
package authority
