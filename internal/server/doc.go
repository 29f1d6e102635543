// Package server builds weir from its parts, starts them in order and stops
// them in reverse. It is the only package that knows all of them.
package server
