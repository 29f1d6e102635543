package ini

import (
	"reflect"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	t.Parallel()
	list, err := Read(strings.NewReader("# c\n[a]\nX = 1 = 2\ny: b\n  c\n\n  d\n; c\n[b/http://c]\n[a]\nempty =\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Section{
		{"a", map[string]string{"x": "1 = 2", "y": "b\nc\nd"}, map[string]int{"x": 3, "y": 4}},
		{"b/http://c", map[string]string{}, map[string]int{}},
		{"a", map[string]string{"empty": ""}, map[string]int{"empty": 11}},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("%+v\nwant %+v", list, want)
	}
	if got := List(list[0].Values["y"] + "\n \n e "); !reflect.DeepEqual(got, []string{"b", "c", "d", "e"}) {
		t.Errorf("lines: %q", got)
	}
	for text, want := range map[string]string{
		"x = 1\n":           "line 1: \"x = 1\" is before any [section]",
		"[a]\n\nnonsense\n": "line 3: \"nonsense\" is no option = value",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
