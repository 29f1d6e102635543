// Package cimi speaks the protocol by which SlipStream's job engine reads and
// edits jobs: Service is its server, whatever the HTTP library; Client is an
// executor's or distributor's side.
package cimi
