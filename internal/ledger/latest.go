package ledger

// Latest gives a row as a change under way has it, else as it is kept; nil is
// a row that is not there, or that the change takes away.
func Latest[K comparable, V any](changed, kept map[K]*V, key K) *V {
	if row, ok := changed[key]; ok {
		return row
	}
	return kept[key]
}
