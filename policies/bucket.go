package policies

import (
	"errors"
	"fmt"
	"path"
	"time"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"weir/buckets"
	"weir/forward"
)

// Fields that buckets and messages are made of where a policy names none.
const (
	bucketKey      = "filepath" // of which the last part is the key
	bucketValue    = "message"
	messageTitle   = "topic"
	messagePayload = "payload"
)

// keyField and valueField are those of a record.
func (ru *rule) keyField() string {
	switch {
	case ru.Key != "":
		return ru.Key
	case ru.Policy.Keep == Messages:
		return messageTitle
	}
	return bucketKey
}

func (ru *rule) valueField() string {
	switch {
	case ru.Field != "":
		return ru.Field
	case ru.Policy.Keep == Messages:
		return messagePayload
	}
	return bucketValue
}

// A bucket is what the records of one key make.
type bucket struct {
	key   string
	at    time.Time
	value []byte
}

// collect makes a bucket of the records of each key, joined by line feeds, or
// of each record a message.
func (ru *rule) collect(w *work, entries []byte, seen int) (out extracted) {
	out.seen = seen
	var list []bucket
	places := map[string]int{}
	walk(entries, &out, func(e forward.Entry, _ bool) error {
		b, err := ru.bucket(e)
		if err != nil {
			return err
		}
		if i, again := places[b.key]; again && ru.Policy.Keep == Buckets {
			list[i].value = append(append(list[i].value, '\n'), b.value...)
			return nil
		}
		places[b.key] = len(list)
		list = append(list, b)
		return nil
	})
	start := len(w.text)
	for _, b := range list {
		w.text = buckets.Append(w.text, b.at, []byte(b.key), b.value)
	}
	out.data = w.text[start:len(w.text):len(w.text)]
	return out
}

// bucket reads an entry.
func (ru *rule) bucket(e forward.Entry) (bucket, error) {
	if forward.KindOf(e.Record) != forward.KindMap {
		return bucket{}, fmt.Errorf("%w: the record is no map with %q and %q", errNoField, ru.keyField(), ru.valueField())
	}
	key, value, err := twoFields(e.Record, ru.keyField(), ru.valueField())
	if err != nil {
		return bucket{}, err
	}
	name, ok := content(key)
	if !ok {
		return bucket{}, fmt.Errorf("%w: %q is no text", errValue, ru.keyField())
	}
	b := bucket{key: string(name)}
	if ru.Policy.Keep == Buckets {
		b.key = path.Base(b.key)
	}
	if !utf8.ValidString(b.key) { // it becomes a text of msgpack and of JSON
		return bucket{}, fmt.Errorf("%w: %q is %q, which is no UTF-8", errValue, ru.keyField(), short(string(name)))
	}
	if b.key == "" || b.key == "." || b.key == "/" || len(b.key) > buckets.MaxKey {
		return bucket{}, fmt.Errorf("%w: %q is %q, no key of 1 to %d bytes", errValue, ru.keyField(), short(string(name)), buckets.MaxKey)
	}
	if ns, ok := forward.UnixNano(e.Time); ok && ns > 0 {
		b.at = time.Unix(0, ns)
	} else {
		b.at = time.Unix(0, 0)
	}
	b.value, err = appendPlain(nil, value)
	return b, err
}

// twoFields finds two fields of a map; of equal keys the last one counts.
func twoFields(record []byte, first, second string) (a, b []byte, err error) {
	n, rest, err := msgp.ReadMapHeaderBytes(record)
	for range n {
		if err != nil {
			return nil, nil, err
		}
		key, isText := content(rest)
		if rest, err = msgp.Skip(rest); err != nil {
			return nil, nil, err
		}
		switch {
		case isText && string(key) == first:
			a = rest
		case isText && string(key) == second:
			b = rest
		}
		rest, err = msgp.Skip(rest)
	}
	if err == nil && (a == nil || b == nil) {
		err = fmt.Errorf("%w: the record has no fields %q and %q", errNoField, first, second)
	}
	return a, b, err
}

// checkKey is what is wrong with the policy's key.
func (p Policy) checkKey() error {
	if p.Key != "" && p.Keep != Buckets && p.Keep != Messages {
		return errors.New("means something for keep: buckets and messages alone: remove it")
	}
	return nil
}
