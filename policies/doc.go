// Package policies routes a batch of entries by its tag to an ingestion
// policy, which says what is kept of it, in which stream, and which arrays are
// built from that.
//
// Patterns are fluentd's. The first policy in the order of the configuration
// that matches takes the batch. What no policy takes, and what a policy cannot
// use, is kept in a dead letter stream and counted by reason: nothing is
// dropped in silence.
package policies
