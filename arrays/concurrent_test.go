package arrays

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
)

// TestReadersWhileGrowing reads groups by slices and by keys while they grow,
// are replaced, and are synced. Row i of generation k holds k<<20 + i.
func TestReadersWhileGrowing(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{ChunkBytes: 4096})
	f := &fakeStream{name: "n"}
	f.append([]byte("0\n"))
	advance(t, s, f, numbersSpec)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := errors.Join(readSlice(s), readKeys(s)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for gen := range 4 {
		for i := 0; i < 3000; {
			var text []byte
			for range 97 {
				text = fmt.Appendln(text, gen<<20+i)
				i++
			}
			if i == 97 && gen > 0 {
				f.reset(text)
			} else if i == 97 {
				f.append(text[2:])
			} else {
				f.append(text)
			}
			advance(t, s, f, numbersSpec)
		}
		if err := s.sync(); err != nil {
			t.Error(err)
		}
	}
	close(done)
	readers.Wait()
}

// inOrder checks that values are the rows from first on of one generation.
func inOrder(values []float64, first int64) error {
	for i, v := range values {
		if int64(v)&(1<<20-1) != first+int64(i) || int64(v)>>20 != int64(values[0])>>20 {
			return fmt.Errorf("row %d is %v after %v", first+int64(i), v, values[0])
		}
	}
	return nil
}

func readSlice(s *Store) error {
	sl, err := s.Slice("n", "value", -1500, 1<<40, 1<<20)
	if errors.Is(err, ErrNotFound) { // between two generations
		return nil
	}
	return errors.Join(err, inOrder(float64s(sl.Data), sl.Start))
}

// readKeys reads as an HTTP client does: metadata, then the last chunk.
func readKeys(s *Store) error {
	var doc struct{ Shape []int64 }
	b, _, err := object(s, "value/zarr.json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return err
	}
	if doc.Shape[0] == 0 {
		return nil
	}
	last := (doc.Shape[0] - 1) / 512
	frame, found, err := object(s, fmt.Sprintf("value/c/%d", last))
	if err != nil || !found {
		return err
	}
	data, err := decompress(frame, 8, 4096)
	if err != nil {
		return err
	}
	return inOrder(float64s(data)[:1], last*512)
}

func object(s *Store, key string) (b []byte, found bool, err error) {
	o, err := s.Object("n", key)
	if errors.Is(err, ErrNotFound) {
		return []byte(`{"shape":[0]}`), false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer o.Body.Close()
	b, err = io.ReadAll(o.Body)
	return b, true, err
}

// TestManyGroups builds groups at once; each stream's steps wait for each other.
func TestManyGroups(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	const groups = 200
	var wait sync.WaitGroup
	for i := range groups {
		f := &fakeStream{name: fmt.Sprintf("group %d", i)}
		for range 3 {
			wait.Go(func() {
				f.append([]byte("1\n2\n"))
				if _, err := s.advance(context.Background(), nil, f, numbersSpec); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wait.Wait()
	if st := s.Stats(); st.Groups != groups || st.Rows != 6*groups {
		t.Errorf("stats %+v", st)
	}
}
