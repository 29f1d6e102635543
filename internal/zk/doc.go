// Package zk is a client of ZooKeeper that holds one session. It connects to
// another member within the session when a connection ends; when the session
// is over, or may be, it is over for good: no request outlives it.
//
// An answer to a request that goes through the leader, a write or a sync,
// proves that the session lived when it was sent. Two thirds of the session's
// timeout after the last such time it ends by itself, before the ensemble can
// have given what it held to others.
//
// The protocol is that of ZooKeeper 3.4 and later, in jute's encoding:
// big-endian numbers, strings and byte arrays with their length before them.
package zk
