// Package vfs is the seam between weir's stores and the disk.
//
// Production code uses OS. Tests use Mem, which can be cloned as a power cut
// would leave it, and wrappers that fail, fill up or slow down on command.
package vfs
