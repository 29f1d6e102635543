// Package e2e tries the weir binary from outside: real loggers send to it,
// real readers open what it built, and it is killed, stopped, starved and fed
// nonsense meanwhile. It has tests only and knows nothing but the contract:
// flags, addresses, URLs and formats.
//
// peers.sh installs the programs that the tests talk to. A test whose program
// is not there is skipped with a reason; with CI=true that is a failure where
// a package registry has the program.
package e2e
