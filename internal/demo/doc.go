// Package demo sends real input through a running weir as its senders would:
// wav files, this machine's resource consumption, and lines of numbers. Then
// it reads back what arrived.
package demo
