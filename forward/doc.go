// Package forward is a server for fluentd's forward protocol: all carrier
// modes, compression, acknowledgements, the handshake and TLS.
//
// A Handler keeps messages; its return value is the acknowledgement. The
// package imports nothing of weir and can be used by other programs.
package forward
