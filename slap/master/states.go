package master

// Requested states.
const (
	started   = "started"
	stopped   = "stopped"
	destroyed = "destroyed"
	available = "available"
)
