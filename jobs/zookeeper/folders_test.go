package zookeeper

import (
	"path"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

// deletedFolders: when somebody deletes the queue, to begin anew, a client that
// waits makes its folders again, and works on.
func deletedFolders(t *testing.T, e *ensemble) {
	c, raw := e.open(t), e.raw(t)
	current(t, c)
	waiting := make(chan string, 1)
	go func() {
		l, err := c.Take(t.Context())
		if err != nil {
			waiting <- err.Error()
			return
		}
		defer l.Consume(t.Context())
		waiting <- l.ID()
	}()
	deleteAll(t, raw, root)
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		_, err := c.Put(t.Context(), "job/a", 50)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("put after the queue was deleted: %v", err)
		}
	}
	select {
	case got := <-waiting:
		if got != "job/a" {
			t.Errorf("took %s", got)
		}
	case <-time.After(patience):
		t.Error("who waits takes nothing after the queue was deleted")
	}
}

// deleteAll deletes a node and what is below it.
func deleteAll(t *testing.T, raw *zk.Conn, node string) {
	t.Helper()
	names, _, err := raw.Children(node)
	if err != nil && err != zk.ErrNoNode {
		t.Fatal(err)
	}
	for _, n := range names {
		deleteAll(t, raw, path.Join(node, n))
	}
	if err := raw.Delete(node, -1); err != nil && err != zk.ErrNoNode && err != zk.ErrNotEmpty { // the client is at it already
		t.Fatal(err)
	}
}
