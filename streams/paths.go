package streams

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"weir/internal/vfs"
)

func (s *Store) chunkDir(stream string) string { return chunkDir(s.dir, stream) }

func chunkDir(dir, stream string) string { return path.Join(dir, "chunks", vfs.Escape(stream)) }

func (s *Store) chunkFile(stream string, generation uint64, offset int64) string {
	return path.Join(s.chunkDir(stream), chunkName(generation, offset))
}

func chunkName(generation uint64, offset int64) string {
	return fmt.Sprintf("%08d-%016d", generation, offset)
}

func parseChunkName(name string) (generation uint64, offset int64, ok bool) {
	g, o, found := strings.Cut(name, "-")
	if !found {
		return 0, 0, false
	}
	generation, err := strconv.ParseUint(g, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	offset, err = strconv.ParseInt(o, 10, 64)
	return generation, offset, err == nil
}

func (s *Store) uploadFile(id uint64) string { return uploadFile(s.dir, id) }

func uploadFile(dir string, id uint64) string {
	return path.Join(dir, uploadsFolder, fmt.Sprintf("%016x", id))
}
