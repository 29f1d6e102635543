package node

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What an instance says that it used is a document consumption, as slapos's
// partition_consumption.xsd has it: movements, whose elements come in this
// order. A journal, as computer_consumption.xsd has it, is made of the
// movements of all partitions.
//
//	<consumption><movement>
//	  <resource/> <title/>? <reference/>? <quantity/> <price/> <VAT/> <category/>*
//	</movement>…</consumption>
type consumption struct{ movements []movement }

type movement []field

type field struct{ name, text string }

// maxMovements bounds a document.
const maxMovements = 1000

// order says how often each element of a movement comes.
var order = []struct {
	name        string
	least, most int
}{{"resource", 1, 1}, {"title", 0, 1}, {"reference", 0, 1}, {"quantity", 1, 1}, {"price", 1, 1}, {"VAT", 1, 1}, {"category", 0, maxMovements}}

// parseConsumption reads a document and says why it is none.
func parseConsumption(b []byte) (consumption, error) {
	r := consumptionReader{d: xml.NewDecoder(bytes.NewReader(b))}
	var c consumption
	err := r.begin("consumption")
	if err == nil {
		err = r.within("consumption", func(name string) error {
			if name != "movement" || len(c.movements) == maxMovements {
				return fmt.Errorf("an element %.40q, or too many", name)
			}
			m, err := r.movement()
			c.movements = append(c.movements, m)
			return err
		})
	}
	if err == nil && len(c.movements) == 0 {
		err = errors.New("it has no movement")
	}
	if err == nil {
		if _, more := r.next(); more != io.EOF {
			err = errors.New("something follows it")
		}
	}
	if err != nil {
		return consumption{}, fmt.Errorf("no consumption: %w", err)
	}
	return c, nil
}

// A consumptionReader walks a document that may be anything.
type consumptionReader struct{ d *xml.Decoder }

// next gives the next start, end or text that is not space.
func (r consumptionReader) next() (xml.Token, error) {
	for {
		t, err := r.d.Token()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.Directive:
			return nil, errors.New("a document type is not allowed")
		case xml.StartElement:
			if len(t.Attr) > 0 {
				return nil, fmt.Errorf("the element %.40q has attributes", t.Name.Local)
			}
			return t, nil
		case xml.EndElement:
			return t, nil
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return xml.CopyToken(t), nil
			}
		}
	}
}

// begin comes to the root, which has to have the name.
func (r consumptionReader) begin(name string) error {
	t, err := r.next()
	if s, ok := t.(xml.StartElement); err != nil || !ok || s.Name.Local != name {
		return errors.Join(err, fmt.Errorf("it is no element %q", name))
	}
	return nil
}

// within reads the rest of an element that has begun, and hands each of those
// in it over.
func (r consumptionReader) within(name string, each func(name string) error) error {
	for {
		t, err := r.next()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			if err := each(t.Name.Local); err != nil {
				return err
			}
		default:
			return fmt.Errorf("there is text in the element %q", name)
		}
	}
}

func (r consumptionReader) movement() (m movement, err error) {
	err = r.within("movement", func(name string) error {
		if len(m) == maxMovements {
			return errors.New("a movement of too many elements")
		}
		text, err := r.text()
		m = append(m, field{name, text})
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, m.check()
}

// text gives what is in an element that holds nothing else.
func (r consumptionReader) text() (string, error) {
	t, err := r.next()
	if err != nil {
		return "", err
	}
	switch t := t.(type) {
	case xml.EndElement:
		return "", nil
	case xml.CharData:
		if t, err := r.next(); err != nil {
			return "", err
		} else if _, ok := t.(xml.EndElement); !ok {
			return "", errors.New("an element in the text of another")
		}
		return strings.TrimSpace(string(t)), nil
	}
	return "", errors.New("an element where a text should be")
}

// check holds a movement against the order of its elements.
func (m movement) check() error {
	at := 0
	for _, o := range order {
		n := 0
		for at < len(m) && m[at].name == o.name && n < o.most {
			at, n = at+1, n+1
		}
		if n < o.least {
			return fmt.Errorf("a movement lacks its %s", o.name)
		}
	}
	if at < len(m) {
		return fmt.Errorf("the element %.40q is not of a movement, or in another place", m[at].name)
	}
	for _, f := range m {
		if _, err := strconv.ParseFloat(f.text, 64); err != nil && (f.name == "quantity" || f.name == "price") {
			return fmt.Errorf("the %s %.40q is no number", f.name, f.text)
		}
	}
	return nil
}

// of makes a movement a partition's.
func (m movement) of(partition string) movement {
	m = slices.DeleteFunc(slices.Clone(m), func(f field) bool { return f.name == "reference" })
	at := 1
	if len(m) > 1 && m[1].name == "title" {
		at = 2
	}
	return slices.Insert(m, at, field{"reference", partition})
}

// writeJournal makes one document of all movements, in the words of slapos.
func writeJournal(computer string, movements []movement, now time.Time) string {
	var b bytes.Buffer
	element := func(name, text string) {
		fmt.Fprintf(&b, "<%s>", name)
		_ = xml.EscapeText(&b, []byte(text)) // a buffer takes all
		fmt.Fprintf(&b, "</%s>", name)
	}
	b.WriteString(`<?xml version="1.0"?><journal><transaction type="Sale Packing List">`)
	element("title", "Resource consumptions")
	element("start_date", "")
	element("stop_date", now.UTC().Format("2006-01-02 at 15:04:05"))
	element("reference", computer)
	for _, name := range []string{"currency", "payment_mode", "category"} {
		element(name, "")
	}
	b.WriteString(`<arrow type="Administration"><source></source><destination></destination></arrow>`)
	for _, m := range movements {
		b.WriteString("<movement>")
		for _, f := range m {
			element(f.name, f.text)
		}
		b.WriteString("</movement>")
	}
	b.WriteString("</transaction></journal>")
	return b.String()
}
