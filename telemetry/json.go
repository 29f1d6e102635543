package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// jsonMetric is a metric as Telegraf's serializer "json" writes it.
type jsonMetric struct {
	Name      string                     `json:"name"`
	Tags      map[string]string          `json:"tags"`
	Fields    map[string]json.RawMessage `json:"fields"`
	Timestamp json.RawMessage            `json:"timestamp"`
}

// JSON reads what Telegraf's output http sends with data_format "json": an
// object with "metrics", or objects one after the other, or a list of them.
// Times are whole numbers of the unit since 1970, or RFC 3339. A metric that is
// not well formed is refused; a body that is no JSON is ErrFormat.
func JSON(body []byte, o Options) (*Reading, error) {
	r := newReading(o)
	d := json.NewDecoder(bytes.NewReader(body))
	n := 0
	for {
		var raw json.RawMessage
		if err := d.Decode(&raw); errors.Is(err, io.EOF) || r.err != nil {
			return r.end(nil)
		} else if err != nil {
			return nil, fmt.Errorf("%w: at byte %d: %w", ErrFormat, d.InputOffset(), err)
		}
		depth := 1 // of what there may be many of
		if raw[0] == '{' {
			depth = 2 // in "metrics"
		}
		if r.take(listedBytes*int64(1+commas(raw, depth))) != nil {
			continue
		}
		list, err := metricsOf(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: at byte %d: %w", ErrFormat, d.InputOffset(), err)
		}
		for _, one := range list {
			n++
			if err := r.metric(one); err != nil {
				r.refuse(n, one, err)
			}
		}
	}
}

// listedBytes is what a member of a list costs beside its text while the list
// grows.
const listedBytes = 64

// commas counts those between values, down to a depth of nested lists and
// objects; the outermost is 1.
func commas(raw []byte, deepest int) (n int) {
	depth, text := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == ',' && depth <= deepest:
			n++
		}
	}
	return n
}

// metricsOf gives the metrics that a value holds.
func metricsOf(raw json.RawMessage) (list []json.RawMessage, err error) {
	switch raw[0] {
	case '[':
		err = json.Unmarshal(raw, &list)
		return list, err
	case '{':
		var batch struct {
			Metrics *[]json.RawMessage `json:"metrics"`
		}
		if err := json.Unmarshal(raw, &batch); err == nil && batch.Metrics != nil {
			return *batch.Metrics, nil
		}
		return []json.RawMessage{raw}, nil
	}
	return nil, fmt.Errorf("%.20q is neither an object nor a list", raw)
}

// metric reads one metric.
func (r *Reading) metric(raw json.RawMessage) error {
	if commas(raw, 2) > maxPairs+4 { // of its own, and of its tags and fields
		return errWide
	}
	var m jsonMetric
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	p := &r.point
	p.reset()
	p.name = []byte(m.Name)
	for _, name := range sorted(m.Tags) {
		p.tags = append(p.tags, pair{[]byte(name), []byte(m.Tags[name])})
	}
	for _, name := range sorted(m.Fields) {
		value, err := jsonValue(m.Fields[name])
		if err != nil {
			return fmt.Errorf("the field %.60q: %w", name, err)
		}
		if value != nil && p.full() {
			return errWide
		}
		if value != nil {
			p.fields = append(p.fields, pair{[]byte(name), value})
		}
	}
	if err := p.jsonTime(m.Timestamp, r.o.Unit); err != nil {
		return err
	}
	return r.add()
}

func (p *point) jsonTime(raw json.RawMessage, unit time.Duration) error {
	text := string(raw)
	if text == "" || text == "null" {
		return nil
	}
	if strings.HasPrefix(text, `"`) {
		var s string
		err := json.Unmarshal(raw, &s)
		t, bad := time.Parse(time.RFC3339Nano, s)
		if err != nil || bad != nil || t.Year() < 1970 || t.Year() > 2106 {
			return fmt.Errorf("the time %.60s is not RFC 3339 between 1970 and 2106", text)
		}
		p.ns, p.timed = t.UnixNano(), true
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("the time %.60s is no whole number", text)
	}
	if p.ns, p.timed = times(n, unit); !p.timed {
		return errTime
	}
	return nil
}

// jsonValue brings a value to msgpack; nil is no value.
func jsonValue(raw json.RawMessage) ([]byte, error) {
	switch raw[0] {
	case 'n':
		return nil, nil
	case 't', 'f':
		return msgp.AppendBool(nil, raw[0] == 't'), nil
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return msgp.AppendString(nil, s), err
	case '{', '[':
		return nil, errors.New("it is a list or an object")
	}
	text := string(raw)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return msgp.AppendInt64(nil, n), nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return msgp.AppendUint64(nil, n), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("%.60s is out of range", text)
	}
	return msgp.AppendFloat64(nil, f), nil
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
