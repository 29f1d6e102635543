package streams

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"weir/internal/vfs"
)

// A foundSegment is a file of log/ as Open finds it.
type foundSegment struct {
	segment
	number int
	whole  bool  // the header is good
	limit  int64 // up to where its successor says it counts; 0 without one
}

// openSegments gives the segments of a folder, those of before an error too.
func openSegments(fsys vfs.FS, dir string, open func(string) (vfs.File, error)) ([]*foundSegment, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	var segs []*foundSegment
	for _, name := range names {
		number, err := strconv.Atoi(strings.TrimSuffix(name, ".seg"))
		if err != nil || !strings.HasSuffix(name, ".seg") {
			continue
		}
		g := &foundSegment{number: number}
		g.name = path.Join(dir, name)
		if g.file, err = open(g.name); err != nil {
			return segs, err
		}
		segs = append(segs, g)
		if g.size, err = g.file.Size(); err != nil {
			return segs, err
		}
		if g.segHeader, g.whole, err = readSegHeader(g.file, g.size); err != nil {
			return segs, fmt.Errorf("%s: %w", g.name, err)
		}
	}
	return segs, nil
}

// chain gives the segments after folded that count, oldest first: from the
// newest header, each names the one before it and up to where that counts.
// missing are those that should be there and are not.
func chain(segs []*foundSegment, folded uint64) (live []*foundSegment, missing []uint64) {
	g := headless(segs, newest(segs, math.MaxUint64))
	for g != nil && g.generation > folded {
		live = append(live, g)
		prev := previous(segs, g)
		if prev == nil && g.prev.generation > folded {
			missing = append(missing, g.prev.generation)
			prev = newest(segs, g.prev.generation)
		}
		g = prev
	}
	slices.Reverse(live)
	return live, missing
}

// newest gives the segment with the highest generation below a bound.
func newest(segs []*foundSegment, bound uint64) (best *foundSegment) {
	for _, g := range segs {
		if g.whole && g.generation < bound && (best == nil || g.generation > best.generation) {
			best = g
		}
	}
	return best
}

// previous gives the segment before g, and sets up to where it counts. One
// whose header is lost is known by the batches in it.
func previous(segs []*foundSegment, g *foundSegment) *foundSegment {
	want := g.prev
	for _, p := range segs {
		if p.whole && p.generation == want.generation && p.salt == want.salt {
			p.limit = want.pos
			return p
		}
	}
	for _, p := range segs {
		sc := scanner{file: p.file, size: p.size, generation: want.generation, salt: want.salt}
		if p.whole || want.generation == 0 || sc.find(sectorBytes, p.size, 0) < 0 {
			continue
		}
		p.adoptHeader(segs, want.generation, want.salt)
		p.limit = want.pos
		return p
	}
	return nil
}

// headless gives the end of the log when its header is lost: a segment whose
// first batch is of a higher generation than that of all headers.
func headless(segs []*foundSegment, newest *foundSegment) *foundSegment {
	for _, p := range segs {
		buf := make([]byte, batchHeader)
		h, ok := parseBatchHeader(buf[:readSome(p.file, buf, sectorBytes)])
		if p.whole || !ok || newest != nil && h.generation <= newest.generation {
			continue
		}
		sc := scanner{file: p.file, size: p.size, generation: h.generation, salt: h.salt}
		if _, ok := sc.read(sectorBytes, p.size); ok {
			p.adoptHeader(segs, h.generation, h.salt)
			newest = p
		}
	}
	return newest
}

// adoptHeader stands in for a header that is lost. Where the segment before
// ends is not known then; its own batches tell.
func (g *foundSegment) adoptHeader(segs []*foundSegment, generation, salt uint64) {
	g.generation, g.salt = generation, salt
	if p := newest(segs, generation); p != nil {
		g.prev = cut{generation: p.generation, salt: p.salt}
	}
}
