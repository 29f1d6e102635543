package server

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"

	"weir/jobs"
	"weir/streams"
)

// Actions that only this process can run, since they are about what it keeps.
// Their jobs wait in a queue of their own.
const (
	actionRestore = "restore_jobs"
	actionCleanup = "cleanup_jobs"
	actionVerify  = "verify_streams"
	// actionDeploy is derived, as the folding of streams is: the deployments say when.
	actionDeploy = "poll_deployment"
)

// keepEnded is how long jobs that have ended are kept.
const keepEnded = 7 * 24 * time.Hour

// ownWork gives what those actions do.
func (s *Server) ownWork() map[string]jobs.Work {
	return map[string]jobs.Work{
		transform: func(ctx context.Context, r *jobs.Run) (int, error) { return s.transformNow(ctx, r) },
		actionRestore: func(ctx context.Context, r *jobs.Run) (int, error) {
			n, err := s.restore(ctx)
			return say(r, err, "%d jobs put back", n)
		},
		actionCleanup: func(ctx context.Context, r *jobs.Run) (int, error) {
			n, err := s.resources.Cleanup(ctx, keepEnded)
			return say(r, err, "%d jobs deleted that ended more than %d days ago", n, keepEnded/(24*time.Hour))
		},
		actionVerify: s.verify,
		actionExpire: s.expire,
	}
}

// say ends a run with a message.
func say(r *jobs.Run, err error, format string, args ...any) (int, error) {
	if err != nil {
		return 1, err
	}
	text := fmt.Sprintf(format, args...)
	return 0, r.Update(jobs.Change{StatusMessage: &text})
}

// transformNow brings the group of the target up to date, those of all streams
// without a target.
func (s *Server) transformNow(ctx context.Context, r *jobs.Run) (int, error) {
	names, err := s.targets(r)
	if err != nil {
		return 1, err
	}
	n := 0
	for _, name := range names {
		st, ok := s.streams.Stream(name)
		if !ok {
			continue
		}
		if p, ok := s.router.Of(st); !ok || p.Array == nil {
			continue
		}
		if err := s.jobs.Do(ctx, transform, target+name); err != nil {
			return 1, err
		}
		n++
	}
	return say(r, nil, "%d of %d streams have a group, which is up to date", n, len(names))
}

// targets gives the names of the streams that a job is about.
func (s *Server) targets(r *jobs.Run) ([]string, error) {
	if t := r.Job.Target; t != nil && t.Href != strings.TrimSuffix(target, "/") {
		name, ok := strings.CutPrefix(t.Href, target)
		if _, there := s.streams.Stream(name); !ok || !there {
			return nil, fmt.Errorf("there is no %s: the target is %sNAME, or none for all streams", t.Href, target)
		}
		return []string{name}, nil
	}
	const page = 1000
	var all []string
	for after := ""; ; after = all[len(all)-1] {
		names := s.streams.Names("", after, page)
		if len(names) == 0 {
			return all, nil
		}
		all = append(all, names...)
	}
}

// errDamaged says that bytes are not what was kept.
var errDamaged = errors.New("damaged")

// verify reads the chunk files of the target, of all streams without one, and
// compares their checksums. It reads for half of the time at most.
func (s *Server) verify(ctx context.Context, r *jobs.Run) (int, error) {
	names, err := s.targets(r)
	if err != nil {
		return 1, err
	}
	v := verifier{buf: make([]byte, 1<<20)}
	told := time.Now()
	for i, name := range names {
		st, ok := s.streams.Stream(name)
		if !ok {
			continue
		}
		if err := v.stream(ctx, st, r.Print); err != nil {
			return 1, err
		}
		if time.Since(told) > time.Second {
			told = time.Now()
			percent := 100 * i / len(names)
			if err := r.Update(jobs.Change{Progress: &percent}); err != nil {
				return 1, err
			}
		}
	}
	if v.bad > 0 {
		return 2, fmt.Errorf("%d of %d chunks are %w, see the log; %d bytes of %d streams were read", v.bad, v.chunks, errDamaged, v.bytes, len(names))
	}
	return say(r, nil, "%d chunks of %d streams are whole, %d bytes", v.chunks, len(names), v.bytes)
}

// A verifier compares chunks with their checksums.
type verifier struct {
	buf         []byte
	chunks, bad int
	bytes       int64
}

// stream verifies the chunks of a stream that have left the log; what is in
// the log is verified when it is read at a start and when it is folded.
func (v *verifier) stream(ctx context.Context, st *streams.Stream, found func(string)) error {
	generation := st.State().Generation
	for _, c := range st.Chunks() {
		if c.Log || c.CRC32C == "" {
			continue
		}
		got, err := v.sum(ctx, st, generation, c)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, streams.ErrGeneration): // replaced meanwhile
			return nil
		case errors.Is(err, streams.ErrTrimmed): // given up meanwhile
			continue
		case errors.Is(err, streams.ErrClosed):
			return err
		}
		v.chunks++
		if err == nil && got != c.CRC32C {
			err = fmt.Errorf("the checksum is %s, not %s", got, c.CRC32C)
		}
		if err != nil {
			v.bad++
			found(fmt.Sprintf("stream %s, generation %d, %d to %d: %v", st.Name(), generation, c.Offset, c.Offset+c.Length, err))
		}
	}
	return nil
}

// sum reads a chunk and gives its checksum.
func (v *verifier) sum(ctx context.Context, st *streams.Stream, generation uint64, c streams.Chunk) (string, error) {
	r, err := st.ChunkReader(generation, c)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for ctx.Err() == nil {
		began := time.Now()
		n, err := r.Read(v.buf)
		h.Write(v.buf[:n])
		v.bytes += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
		if took := time.Since(began); took > time.Millisecond {
			time.Sleep(took)
		}
	}
	return fmt.Sprintf("%08x", h.Sum32()), ctx.Err()
}
