// Package push sends files to streams of a weir by HTTP, so that each byte
// arrives once: a Client puts whole files and goes on after a break where the
// server says it is, a Watcher follows files that grow.
package push
