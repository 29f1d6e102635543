package arrays

import (
	"reflect"
	"strconv"
)

// A view is the published state of a group. It does not change.
type view struct {
	commit
	json    []byte
	dir     string
	attrs   map[string]any
	columns []columnView
}

// A columnView is an array of a view.
type columnView struct {
	name  string
	dtype dtype
	dims  []string
	width int
	from  int64
	static
}

// doc gives an array's zarr.json.
func (s static) doc(rows int64) []byte {
	b := make([]byte, 0, len(s.before)+20+len(s.after))
	b = append(b, s.before...)
	b = strconv.AppendInt(b, rows, 10)
	return append(b, s.after...)
}

func (c columnView) rowBytes() int { return c.width * c.dtype.size }

// column finds an array by name.
func (v *view) column(name string) (columnView, bool) {
	for _, c := range v.columns {
		if c.name == name {
			return c, true
		}
	}
	return columnView{}, false
}

func (v *view) arrayInfo(c columnView) ArrayInfo {
	shape := []int64{v.Rows}
	if len(c.dims) > 1 {
		shape = append(shape, int64(c.width))
	}
	return ArrayInfo{Name: c.name, DataType: c.dtype.name, Shape: shape, Dimensions: c.dims, Attributes: c.attrs}
}

// sameMap tells whether two maps are one and the same.
func sameMap(a, b map[string]any) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}
