package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/slap"
)

const oneMovement = "<movement><resource>service_module/x</resource><title>A &amp; B &lt;c&gt;</title><reference>mine</reference><quantity>1.5</quantity><price>0</price><VAT/><category>k</category></movement>"

func document(movements ...string) string {
	return "<?xml version='1.0' encoding='utf-8'?>\n<consumption>\n " + strings.Join(movements, "\n ") + "\n</consumption>\n"
}

func TestParseConsumption(t *testing.T) {
	t.Parallel()
	c, err := parseConsumption([]byte(document(oneMovement, "<movement><resource>r</resource><quantity>1</quantity><price>2</price><VAT>v</VAT></movement>")))
	if err != nil || len(c.movements) != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	text := writeJournal("COMP-1", []movement{c.movements[0].of("part0"), c.movements[1].of("part<1>")}, time.Unix(1e9, 0))
	for _, want := range []string{
		"<stop_date>2001-09-09 at 01:46:40</stop_date><reference>COMP-1</reference>",
		"<movement><resource>service_module/x</resource><title>A &amp; B &lt;c&gt;</title><reference>part0</reference><quantity>1.5</quantity><price>0</price><VAT></VAT><category>k</category></movement>",
		"<movement><resource>r</resource><reference>part&lt;1&gt;</reference><quantity>1</quantity><price>2</price><VAT>v</VAT></movement>",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nis not in\n%s", want, text)
		}
	}
	j, err := slap.ParseJournal([]byte(text))
	if err != nil || len(j.Transactions) != 1 || len(j.Transactions[0].Movements) != 2 || j.Transactions[0].Movements[0].Title != "A & B <c>" {
		t.Errorf("%+v, %v", j, err)
	}
	m := func(s string) string { return document("<movement>" + s + "</movement>") }
	for name, text := range map[string]string{
		"empty": "", "no XML": "no", "another root": "<journal/>", "no movement": document(), "cut short": document(oneMovement)[:100],
		"followed": document(oneMovement) + "<consumption/>", "text": document("x", oneMovement), "another element": document("<x/>"),
		"document type": "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>" + document(oneMovement), "entity": m("<resource>&e;</resource>"),
		"attribute": document(strings.Replace(oneMovement, "<VAT/>", "<VAT a='b'/>", 1)), "order": m("<quantity>1</quantity><resource>r</resource><price>2</price><VAT/>"),
		"twice": m("<resource>r</resource><resource>r</resource><quantity>1</quantity><price>2</price><VAT/>"), "lacks": m("<resource>r</resource><quantity>1</quantity><VAT/>"),
		"no number": m("<resource>r</resource><quantity>much</quantity><price>2</price><VAT/>"), "deeper": m("<resource><x/></resource><quantity>1</quantity><price>2</price><VAT/>"),
		"more": m("<resource>r</resource><quantity>1</quantity><price>2</price><VAT/><x/>"), "mixed": m("<resource>r<x/></resource><quantity>1</quantity><price>2</price><VAT/>"),
		"too many": document(strings.Repeat(oneMovement, maxMovements+1)), "too many elements": m("<resource>r</resource><quantity>1</quantity><price>2</price><VAT/>" + strings.Repeat("<category/>", maxMovements)),
	} {
		if _, err := parseConsumption([]byte(text)); err == nil {
			t.Errorf("%s is taken: %.200s", name, text)
		}
	}
}

func FuzzConsumption(f *testing.F) {
	f.Add([]byte(document(oneMovement)))
	f.Add([]byte("<consumption><movement>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseConsumption(b)
		if err != nil {
			return
		}
		text := writeJournal("c", c.movements, time.Unix(0, 0))
		if j, err := slap.ParseJournal([]byte(text)); err != nil || len(j.Transactions) != 1 || len(j.Transactions[0].Movements) != len(c.movements) {
			t.Errorf("%q gives %s: %v", b, text, err)
		}
	})
}

// journals gives what the master was told by useComputer.
func (h *house) journals() (list []string) {
	h.fake.set(func() {
		list, h.fake.journals = h.fake.journals, nil
	})
	return list
}

// reporting writes a document with its own name in it to the file that it is given.
const reporting = `#!/bin/sh
[ "$PWD" = "$HOME/etc/report" ] || exit 7
cat > "$1" <<'X'
<consumption><movement><resource>r-NAME</resource><quantity>1</quantity><price>2</price><VAT/></movement></consumption>
X
`

// TestUsage: what etc/report tells goes to the master as one journal, once;
// what is no consumption stays and harms nobody.
func TestUsage(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 3, "")
	outside := filepath.Join(h.dir, "outside")
	h.must(os.WriteFile(outside, []byte(document(oneMovement)), 0o644))
	for _, name := range []string{"part0", "part1"} {
		h.put(name, "var/xml_report/wrong", "<consumption/>", 0o644)
		for _, report := range []string{"a", "b"} {
			h.put(name, "etc/report/"+report, strings.ReplaceAll(reporting, "NAME", name+report), 0o755)
		}
	}
	h.must(os.Symlink(outside, h.path("part1", "var/xml_report/link")))
	h.must(syscall.Mkfifo(h.path("part1", "var/xml_report/pipe"), 0o666))
	h.put("part1", "etc/report/c", "#!/bin/sh\nexit 1\n", 0o755)
	h.must(os.MkdirAll(h.path("var/xml_report/part2"), 0o755))
	h.must(os.WriteFile(h.path("var/xml_report/part2/given"), []byte(document(oneMovement)), 0o644))
	o, err := h.Report(t.Context(), Run{})
	if err != nil || o.Exit() != 0 {
		t.Errorf("%+v, %v", o, err)
	}
	h.toldAre(`softwareInstanceError part1 Script "c" failed.`, "useComputer")
	list := h.journals()
	if len(list) != 1 {
		t.Fatalf("%d journals: %s", len(list), list)
	}
	j, err := slap.ParseJournal([]byte(list[0]))
	h.must(err)
	var got []string
	for _, m := range j.Transactions[0].Movements {
		got = append(got, m.Resource+" of "+m.Reference)
	}
	slices.Sort(got) // the files have random names
	if fmt.Sprint(got) != "[r-part0a of part0 r-part0b of part0 r-part1a of part1 r-part1b of part1 service_module/x of part2]" {
		t.Errorf("%q", got)
	}
	for name, want := range map[string]int{"part0": 1, "part1": 3} {
		if left, err := os.ReadDir(h.path(name, "var/xml_report")); err != nil || len(left) != want {
			t.Errorf("%s has %v left, %v", name, left, err)
		}
	}
	for _, name := range []string{"part0", "part1"} {
		h.must(os.RemoveAll(h.path(name, "etc/report")))
	}
	h.report()
	if list := h.journals(); len(list) != 0 {
		t.Errorf("told again: %s", list)
	}
}

// TestUsageKept: what was told is not lost and not told twice, whatever is cut
// short: the master away, an agent killed in between, a master that refuses.
func TestUsageKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "")
	h.put("part0", "var/xml_report/u", document(oneMovement), 0o644)
	h.must(h.prepare())
	list := []slap.Partition{*h.fake.partitions[0]}
	// Killed after the journal was written down, and before its source went.
	name, err := h.gather(list)
	if err != nil || name == "" {
		t.Fatalf("%q, %v", name, err)
	}
	h.fake.set(func() { h.fake.status = 503 })
	if safe, err := h.usage(t.Context(), list, true); !safe || !isOffline(err) {
		t.Errorf("without the master: %v, %v", safe, err)
	}
	if h.text("part0", "var/xml_report/u") != "" {
		t.Error("it is in the partition still, and would be told twice")
	}
	h.put("part0", "var/xml_report/u", document(oneMovement, oneMovement), 0o644) // another of the name
	h.fake.set(func() { h.fake.status = 0 })
	h.report("useComputer", "useComputer")
	got := h.journals()
	if len(got) != 2 || strings.Count(got[0], "<movement>") != 1 || strings.Count(got[1], "<movement>") != 2 {
		t.Errorf("%s", got)
	}
	h.put("part0", "var/xml_report/u", document(oneMovement), 0o644)
	h.fake.set(func() { h.fake.usage = 400 })
	h.report("useComputer")
	h.report()
	if kept, err := filepath.Glob(h.state("usage", "*.refused")); err != nil || len(kept) != 1 {
		t.Errorf("%v, %v", kept, err)
	}
}

// TestUsageDestroyed: an instance tells what it used before it goes, and does
// not go while that cannot be kept.
func TestUsageDestroyed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, "")
	for _, name := range []string{"part0", "part1"} {
		h.put(name, "var/xml_report/keep", "", 0o644)
		h.put(name, "etc/report/a", strings.ReplaceAll(reporting, "NAME", name), 0o755)
	}
	h.must(h.prepare())
	h.usageDue(time.Hour)
	h.fake.set(func() { h.fake.partitions[0].State = slap.Destroyed })
	h.must(os.WriteFile(h.state("usage"), nil, 0o600)) // no folder: nothing can be kept
	o, err := h.Report(t.Context(), Run{usageEvery: time.Hour})
	if err != nil || o.Exit() != ExitFailed || o.Failed[0].Name != "usage" {
		t.Errorf("%+v, %v", o, err)
	}
	h.toldAre()
	h.empty("part0", false)
	h.must(os.Remove(h.state("usage")))
	h.must(func() error { _, err := h.Report(t.Context(), Run{usageEvery: time.Hour}); return err }())
	h.toldAre("useComputer", "stoppedComputerPartition part0", "destroyedComputerPartition part0")
	// The first try ran the report, too.
	if list := h.journals(); len(list) != 1 || strings.Count(list[0], "r-part0") != 2 || strings.Contains(list[0], "part1") {
		t.Errorf("%s", list)
	}
	h.empty("part0", true)
}

// TestUsageHangs: a report that does not end is ended.
func TestUsageHangs(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "")
	h.c.PartitionTimeout = 300 * time.Millisecond
	h.put("part0", "etc/report/a", "#!/bin/sh\necho $$ > ../../pid; sleep 1000\n", 0o755)
	h.report(`softwareInstanceError part0 Script "a" failed.`)
	pid := strings.TrimSpace(h.text("part0", "pid"))
	if pid == "" {
		t.Fatal("it did not run")
	}
	h.gone(pid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.usage(ctx, []slap.Partition{*h.fake.partitions[0]}, true); err == nil {
		t.Error("a run that was ended says nothing")
	}
}
