package arrays

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
)

// A chunkKey names a full chunk, whose rows never change.
type chunkKey struct {
	dir    string
	build  int64
	column string
	index  int64
}

// A chunkCache keeps decoded full chunks, bounded by bytes.
type chunkCache struct {
	limit int64

	mu           sync.Mutex
	lru          *lru.LRU[chunkKey, []byte]
	bytes        int64
	hits, misses int64
}

func newChunkCache(limit int64) *chunkCache {
	c := &chunkCache{limit: limit}
	c.lru, _ = lru.NewLRU(1<<30, func(_ chunkKey, b []byte) { c.bytes -= int64(len(b)) })
	return c
}

func (c *chunkCache) get(k chunkKey) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.lru.Get(k)
	if ok {
		c.hits++
	} else {
		c.misses++
	}
	return b, ok
}

func (c *chunkCache) put(k chunkKey, b []byte) {
	if int64(len(b)) > c.limit {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lru.Contains(k) {
		return
	}
	c.lru.Add(k, b)
	c.bytes += int64(len(b))
	for c.bytes > c.limit {
		c.lru.RemoveOldest()
	}
}

func (c *chunkCache) stats() (bytes, hits, misses int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes, c.hits, c.misses
}
