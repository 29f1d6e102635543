// Package proc reads what Linux tells of processes in /proc, and holds on to
// processes so that a number which has been given to another one is never
// taken for the first.
package proc
