//go:build !race

package supervise

// raced: the race detector takes several times the memory.
const raced = false
