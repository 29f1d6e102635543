// Package sender sends events by fluentd's forward protocol, plain, over TLS
// and with the handshake of a shared key, and waits for the ack of each. The
// messages are those of fluent-logger-golang; its connection knows neither
// authorities nor shared keys.
//
// Source of the format: the forward protocol, versions 1 and 1.5.
package sender
