// Package node brings the partitions of one computer to the state that a SLAP
// master asks for: it makes partitions (Format), builds software releases
// (Software), runs their profiles in partitions, starts and stops what these
// leave in etc/service and etc/run (Instance), tells the master how that went,
// and removes what is destroyed (Report).
//
// It reads slapos's own configuration and keeps slapos's files, so that either
// program can take over a computer from the other. DESIGN.md tells where they
// differ, and why.
package node
