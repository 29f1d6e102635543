package slap

import (
	"encoding/xml"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

// tokens gives what a document is made of, texts that follow each other as one.
func tokens(next func() (token string, text bool, err error)) (list []string, err error) {
	text := false
	for {
		t, isText, err := next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		switch {
		case isText && t == "":
		case isText && text:
			list[len(list)-1] += t
		default:
			list, text = append(list, t), isText
		}
	}
}

// scanned are the tokens as the scanner sees them.
func scanned(b []byte) ([]string, error) {
	s := scanner{b: b, names: map[string]string{}}
	return tokens(func() (string, bool, error) {
		if err := s.next(); err != nil {
			return "", false, err
		}
		switch s.kind {
		case startToken:
			return fmt.Sprintf("<%s %q", s.name, s.attrs), false, nil
		case endToken:
			return "</" + s.name, false, nil
		}
		return s.text, true, nil
	})
}

// decoded are the tokens as encoding/xml sees them.
func decoded(b []byte) ([]string, error) {
	d := xml.NewDecoder(strings.NewReader(string(b)))
	return tokens(func() (string, bool, error) {
		t, err := d.Token()
		if err != nil {
			return "", false, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			attrs := []attr{}
			for _, a := range t.Attr {
				attrs = append(attrs, attr{a.Name.Local, a.Value})
			}
			return fmt.Sprintf("<%s %q", t.Name.Local, attrs), false, nil
		case xml.EndElement:
			return "</" + t.Name.Local, false, nil
		case xml.CharData:
			return string(t), true, nil
		}
		return "", true, nil
	})
}

// marginal are documents at the edge of what is XML.
var marginal = []string{
	`<a b="1" c='2' ><b/>t<c></c ></a>`, "<a>x&lt;&#x41;&#65;&quot;&apos;&amp;&gt;\r\n\ry</a>", "<a><![CDATA[<&amp;]]]]><![CDATA[>]]></a>",
	"<?xml version='1.0' encoding='UTF-8'?>\n<!-- - c -->\n<a/>", "<?other ?x?><a>1<!-- -->2<?p ?>3</a>", "<a b = \"\té\"/>",
	"<a>]]></a>", "<a>&nbsp;</a>", "<a>&#0;</a>", "<a>&#xd800;</a>", "<a>&#x110000;</a>", "<a>&#-1;</a>", "<a>&#+5;</a>", "<a>&lt</a>", "<a>&;</a>", "<a>\x00</a>", "<a>\xff</a>", "<a>\ufffe</a>",
	"<!DOCTYPE a><a/>", "<a b/>", "<a b=c/>", "<a b='<'/>", "<a b='1'c='2'/>", "<a b='1' b='2'/>", "<a / >", "<a//>", "< a/>", "<a></b>", "<a><b></a></b>", "</a>", "<a", "<a>", "<a b='", "<!", "<!-", "<!-- -- --><a/>", "<!--><a/>",
	"<?xml version='1.1'?><a/>", "<?xml version='1.0' encoding='latin1'?><a/>", "<?xml?><a/>", "<?xml", "<?", "<1/>", "<-/>", "<a:b/>", "<é/>", "<a\u00a0b='1'/>", "", "text", "<a/><b/>", "<![CDATA[x]]>", "<![CDATA[x", "&#9999999999999999999;",
}

// TestScanner: a document is taken as encoding/xml takes it, or not at all; of
// the marginal ones, only these are refused that it takes.
func TestScanner(t *testing.T) {
	t.Parallel()
	narrower := map[string]bool{"<!DOCTYPE a><a/>": true, "<a>&#xd800;</a>": true, "<a:b/>": true, "<é/>": true}
	for _, d := range append(marginal, documents(t)...) {
		got, err := scanned([]byte(d))
		want, wantErr := decoded([]byte(d))
		if (err == nil) != (wantErr == nil) && !narrower[d] || err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%.300q\n is %q, %v\nwant %q, %v", d, got, err, want, wantErr)
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, d := range append(marginal, documents(f)...) {
		f.Add([]byte(d))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := scanned(b)
		if err != nil {
			return
		}
		want, err := decoded(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q\n is %q\nwant %q, %v", b, got, want, err)
		}
	})
}

// BenchmarkUnmarshal reads what a master says of a node of 50 busy partitions.
func BenchmarkUnmarshal(b *testing.B) {
	var partitions []any
	for k := range 50 {
		name := fmt.Sprintf("slappart%d", k)
		release := &Object{Class: "SoftwareRelease", Args: Tuple{"http://example.org/software.cfg", "local"}, Attributes: map[string]any{"_software_release": "http://example.org/software.cfg"}}
		partitions = append(partitions, &Object{Class: "ComputerPartition", Args: Tuple{"local", name, nil}, Attributes: map[string]any{
			"_computer_id": "local", "_partition_id": name, "_requested_state": "started", "_instance_guid": "local-" + name, "_software_release_document": release,
			"_connection_dict": map[string]any{}, "_parameter_dict": map[string]any{
				"ip_list":        []any{Tuple{name, "127.0.0.1"}, Tuple{name, "::1"}},
				"instance_title": "instance " + name, "slap_software_type": "default", "timestamp": "1795285261",
			},
		}})
	}
	text, err := Marshal(&Object{Class: "Computer", Args: Tuple{"local"}, Attributes: map[string]any{"_computer_id": "local", "_computer_partition_list": partitions}})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Unmarshal(text); err != nil {
			b.Fatal(err)
		}
	}
}
