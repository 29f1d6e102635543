package streams

import (
	"errors"
	"time"
)

// keeperLoop folds full segments, keeps a spare one, and trims streams.
func (s *Store) keeperLoop() {
	defer close(s.kept)
	backoff := time.Duration(0)
	for {
		err := s.keep()
		s.noteFold(err)
		s.folded.notify()
		var again <-chan time.Time
		if err != nil {
			s.o.Log.Error("streams: fold failed", "error", err)
			backoff = min(max(2*backoff, backoffMin), backoffMax)
			again = time.After(backoff)
		} else {
			backoff = 0
		}
		select {
		case <-s.stop:
			return
		case <-s.wake:
		case t := <-s.trims:
			s.trim(t)
		case <-again:
		}
	}
}

func (s *Store) keep() error {
	for {
		select {
		case <-s.stop:
			return nil
		case t := <-s.trims:
			s.trim(t)
		default:
		}
		// First a free segment, so that no commit has to make one meanwhile. A
		// disk without room for it may get some by folding or a trim.
		err := s.log.spare()
		seg := s.log.oldest(s.o.LiveSegments)
		if seg == nil {
			if errors.Is(err, ErrNoSpace) {
				return nil
			}
			return err
		}
		fold := func() error { return s.foldOldest(seg) }
		if err := s.o.Work("fold", func() error { return s.withRoom(fold) }); err != nil {
			return err
		}
		s.folded.notify()
	}
}

// withRoom does what in the end gives room on the disk. Where there is too little
// for it, free segments are given up.
func (s *Store) withRoom(do func() error) error {
	err := do()
	for errors.Is(noSpace(err), ErrNoSpace) && s.log.shrink() {
		err = do()
	}
	return err
}

// noteFold keeps for Stats why folding fails.
func (s *Store) noteFold(err error) {
	if err == nil {
		s.foldFailed.Store(nil)
		return
	}
	text := err.Error()
	s.foldFailed.Store(&text)
}

func (s *Store) wakeKeeper() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
