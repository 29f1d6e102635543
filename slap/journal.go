package slap

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Journal is what a computer's instances used: the document that nodes send
// with ReportUsage, of the form computer_consumption.xsd of slapos.core.
type Journal struct{ Transactions []Transaction }

// A Transaction is the usage of a period, or of what a report of an instance
// says.
type Transaction struct {
	Title, Reference, Currency string
	// Start and Stop of the period, taken as UTC; zero where the node says
	// nothing that can be read as a time.
	Start, Stop time.Time
	Movements   []Movement
}

// A Movement is an amount of one resource.
type Movement struct {
	Resource  string // such as service_module/cpu_load_percent
	Title     string
	Reference string // the partition; that of a user, or empty, for the computer
	Category  string
	Quantity  float64 // NaN where the node gave no number
	Price     float64 // of one; NaN likewise
}

// maxElements bounds what a journal is made of.
const maxElements = 1 << 18

// ParseJournal reads a journal. Elements that it does not know, and the order
// of those that it does, do not matter: nodes send what the schema refuses. A
// document of another form has no transactions.
func ParseJournal(b []byte) (*Journal, error) {
	r := journalReader{d: xml.NewDecoder(strings.NewReader(string(b)))}
	j, err := r.read()
	if err != nil {
		return nil, fmt.Errorf("slap: usage journal: %w", err)
	}
	return j, nil
}

// A journalReader knows where in the document it is.
type journalReader struct {
	d        *xml.Decoder
	path     []string
	elements int
	j        Journal
	t        Transaction
	m        Movement
	text     strings.Builder
}

func (r *journalReader) read() (*Journal, error) {
	for {
		t, err := r.d.Token()
		switch {
		case err == io.EOF && r.elements > 0:
			return &r.j, nil
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
		switch t := t.(type) {
		case xml.Directive:
			return nil, errors.New("a document type is not allowed")
		case xml.StartElement:
			if err := r.start(t.Name.Local); err != nil {
				return nil, err
			}
		case xml.CharData:
			r.text.Write(t)
		case xml.EndElement:
			r.end(strings.Join(r.path, "/"), strings.TrimSpace(r.text.String()))
			r.path = r.path[:len(r.path)-1]
			r.text.Reset()
		}
	}
}

// Elements that hold others.
const (
	atJournal     = "journal"
	atTransaction = atJournal + "/transaction"
	atMovement    = atTransaction + "/movement"
)

func (r *journalReader) start(name string) error {
	if r.elements++; r.elements > maxElements {
		return fmt.Errorf("it has more than %d elements", maxElements)
	}
	if len(r.path) > maxDepth {
		return fmt.Errorf("elements are nested deeper than %d", maxDepth)
	}
	r.path = append(r.path, name)
	r.text.Reset()
	switch strings.Join(r.path, "/") {
	case atTransaction:
		r.t = Transaction{}
	case atMovement:
		r.m = Movement{Quantity: math.NaN(), Price: math.NaN()}
	}
	return nil
}

// end takes the text of an element that ended.
func (r *journalReader) end(path, text string) {
	switch path {
	case atTransaction:
		r.j.Transactions = append(r.j.Transactions, r.t)
	case atMovement:
		r.t.Movements = append(r.t.Movements, r.m)
	case atTransaction + "/title":
		r.t.Title = text
	case atTransaction + "/reference":
		r.t.Reference = text
	case atTransaction + "/currency":
		r.t.Currency = text
	case atTransaction + "/start_date":
		r.t.Start = journalTime(text)
	case atTransaction + "/stop_date":
		r.t.Stop = journalTime(text)
	case atMovement + "/resource":
		r.m.Resource = text
	case atMovement + "/title":
		r.m.Title = text
	case atMovement + "/reference":
		r.m.Reference = text
	case atMovement + "/category":
		r.m.Category = text
	case atMovement + "/quantity":
		r.m.Quantity = journalNumber(text)
	case atMovement + "/price":
		r.m.Price = journalNumber(text)
	}
}

// journalTime reads the two ways in which nodes write times.
func journalTime(s string) time.Time {
	for _, layout := range []string{time.DateTime, "2006-01-02 at 15:04:05", time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

func journalNumber(s string) float64 {
	if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsInf(f, 0) {
		return f
	}
	return math.NaN()
}
