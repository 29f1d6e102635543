package master

import (
	"strings"
)

// postDestroyed frees a partition whose node removed the instance. A root
// waits for its tree: the others are asked to be destroyed first, and the
// answer is a success that says so, since nodes take an error for a failure.
func (m *Master) postDestroyed(c *call) (any, error) {
	answer := text("OK")
	err := m.onPartition(c, func(t *tx, p *partition) error {
		if waiting := t.free(p); len(waiting) > 0 {
			answer = text("Not destroying yet because this partition has child partitions: " + strings.Join(waiting, ", "))
		}
		return nil
	})
	return answer, err
}

// free empties a partition, or asks the rest of its tree to be destroyed and
// gives their titles.
func (t *tx) free(p *partition) (waiting []string) {
	if p.Instance == nil {
		return nil
	}
	if p.Instance.Root == "" {
		for _, child := range t.tree(p.Instance.Title) {
			if child.place == p.place {
				continue
			}
			waiting = append(waiting, child.Instance.Title)
			if child.Instance.State != destroyed {
				i := *child.Instance
				i.Asked, i.State, i.Stamp = destroyed, destroyed, t.stamp(i.Stamp)
				t.putInstance(child, &i)
			}
		}
	}
	if len(waiting) == 0 {
		t.putInstance(p, nil)
		t.forget(p.place)
	}
	return waiting
}

// forget drops what hung on a partition's instance: its certificate, the shared
// instances in it, and its being the requester of others.
func (t *tx) forget(gone place) {
	if s := gone.subject(); t.certificate(s) != nil {
		t.setCertificate(s, nil)
	}
	t.eachShared(func(s *shared) {
		switch {
		case s.Host == gone:
			t.setShared(s.name, nil)
			t.touch(s.Requester)
		case s.Requester != nil && *s.Requester == gone:
			orphan := *s
			orphan.Requester = nil
			t.setShared(s.name, &orphan)
		}
	})
	var orphans []*partition
	t.each(func(p *partition) {
		if p.Instance != nil && p.Instance.Requester != nil && *p.Instance.Requester == gone {
			orphans = append(orphans, p)
		}
	})
	for _, p := range orphans {
		i := *p.Instance
		i.Requester = nil
		t.putInstance(p, &i)
	}
}
