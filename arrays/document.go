package arrays

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// formatVersion is that of the "weir" attribute.
const formatVersion = 1

// A groupDoc is a group's zarr.json, whose rename is the commit.
type groupDoc struct {
	ZarrFormat   int             `json:"zarr_format"`
	NodeType     string          `json:"node_type"`
	Attributes   json.RawMessage `json:"attributes"`
	Consolidated consolidated    `json:"consolidated_metadata"`
}

type consolidated struct {
	Kind           string                     `json:"kind"`
	MustUnderstand bool                       `json:"must_understand"`
	Metadata       map[string]json.RawMessage `json:"metadata"`
}

// A commit is the attribute "weir" of a group: what has been done, and what is
// needed to go on.
type commit struct {
	Format     int    `json:"format"`
	Stream     string `json:"stream"`
	Generation uint64 `json:"generation"`
	Spec       Spec   `json:"spec"`
	position
	Begin    int64       `json:"begin,omitempty"` // the byte of the stream that the rows begin with
	Build    int64       `json:"build"`           // tells apart what was built from the same generation
	Columns  []columnRef `json:"columns"`         // in order
	Chunk    int         `json:"chunk"`           // rows of a chunk
	Modified time.Time   `json:"modified"`
	Boot     string      `json:"boot"` // the start of the machine under which it was written
	// Synced is what is surely on stable storage.
	Synced position `json:"synced"`
}

// A columnRef names a column, and the first row that it was written for; it has
// the fill value before.
type columnRef struct {
	Name string `json:"name"`
	From int64  `json:"from"`
}

// A position is how far a group has come.
type position struct {
	Offset  int64           `json:"offset"` // bytes of the stream
	Rows    int64           `json:"rows"`
	Refused int64           `json:"refused"` // parts of the stream that were of no use
	State   json.RawMessage `json:"state,omitempty"`
	Mark    mark            `json:"mark,omitzero"` // of the bytes before Offset
}

// A savedState is all that a decoder needs to go on, but the columns.
type savedState struct {
	Decoder json.RawMessage `json:"decoder"`
	Refused *refusals       `json:"refusals"`
}

// An arrayDoc is what we read back of an array's zarr.json.
type arrayDoc struct {
	Shape      []int64        `json:"shape"`
	DataType   string         `json:"data_type"`
	Attributes map[string]any `json:"attributes"`
	Dimensions []string       `json:"dimension_names"`
}

// arrayJSON gives an array's zarr.json in two parts: between them comes the
// number of rows.
func arrayJSON(c *column, chunkRows int) (before, after string, err error) {
	tail, chunk, endian := "", strconv.Itoa(chunkRows), `{"name":"bytes","configuration":{"endian":"little"}}`
	if len(c.dims) > 1 {
		tail = "," + strconv.Itoa(c.width)
		chunk += tail
	}
	mode := "shuffle"
	if c.dtype.size == 1 {
		endian, mode = `{"name":"bytes"}`, "noshuffle"
	}
	attrs, err := json.Marshal(c.attrs)
	if err != nil {
		return "", "", fmt.Errorf("arrays: attributes of %s: %w", c.name, err)
	}
	dims, err := json.Marshal(c.dims)
	if err != nil {
		return "", "", err
	}
	after = fmt.Sprintf(`%s],"data_type":"%s",`+
		`"chunk_grid":{"name":"regular","configuration":{"chunk_shape":[%s]}},`+
		`"chunk_key_encoding":{"name":"default","configuration":{"separator":"/"}},`+
		`"fill_value":%s,"codecs":[%s,{"name":"blosc","configuration":`+
		`{"cname":"lz4","clevel":5,"shuffle":"%s","typesize":%d,"blocksize":0}}],`+
		`"attributes":%s,"dimension_names":%s}`,
		tail, c.dtype.name, chunk, c.dtype.fill, endian, mode, c.dtype.size, attrs, dims)
	return `{"zarr_format":3,"node_type":"array","shape":[`, after, nil
}

// rootJSON is the zarr.json of the folder that holds the groups.
const rootJSON = `{"zarr_format":3,"node_type":"group","attributes":{}}`

// groupJSON gives a group's zarr.json; arrays are the documents of c.Columns.
func groupJSON(attrs map[string]any, c commit, arrays [][]byte) ([]byte, error) {
	all := make(map[string]any, len(attrs)+1)
	for k, v := range attrs {
		all[k] = v
	}
	all["weir"] = c
	a, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("arrays: attributes of the group: %w", err)
	}
	b := append([]byte(`{"zarr_format":3,"node_type":"group","attributes":`), a...)
	b = append(b, `,"consolidated_metadata":{"kind":"inline","must_understand":false,"metadata":{`...)
	for i, ref := range c.Columns {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, ref.Name)
		b = append(b, ':')
		b = append(b, arrays[i]...)
	}
	return append(b, "}}}"...), nil
}

// parseGroup reads a group's zarr.json back.
func parseGroup(b []byte) (commit, map[string]any, []*column, error) {
	var doc groupDoc
	if err := json.Unmarshal(b, &doc); err != nil {
		return commit{}, nil, nil, fmt.Errorf("arrays: read zarr.json: %w", err)
	}
	attrs := map[string]any{}
	var ours struct {
		Weir commit `json:"weir"`
	}
	if err := json.Unmarshal(doc.Attributes, &ours); err != nil {
		return commit{}, nil, nil, fmt.Errorf("arrays: read attribute weir: %w", err)
	}
	if err := json.Unmarshal(doc.Attributes, &attrs); err != nil {
		return commit{}, nil, nil, fmt.Errorf("arrays: read attributes: %w", err)
	}
	delete(attrs, "weir")
	if ours.Weir.Format != formatVersion {
		return commit{}, nil, nil, fmt.Errorf("arrays: zarr.json has format %d of weir's attribute; this weir reads %d", ours.Weir.Format, formatVersion)
	}
	columns, err := parseColumns(ours.Weir.Columns, doc.Consolidated.Metadata)
	return ours.Weir, attrs, columns, err
}

func parseColumns(refs []columnRef, docs map[string]json.RawMessage) ([]*column, error) {
	columns := make([]*column, len(refs))
	for i, ref := range refs {
		var doc arrayDoc
		name := ref.Name
		if err := json.Unmarshal(docs[name], &doc); err != nil {
			return nil, fmt.Errorf("arrays: read metadata of %s: %w", name, err)
		}
		d, ok := dtypes[doc.DataType]
		if !ok || len(doc.Shape) != len(doc.Dimensions) || len(doc.Shape) == 0 || len(doc.Shape) > 2 {
			return nil, fmt.Errorf("arrays: read metadata of %s: not a form that weir writes", name)
		}
		c := &column{name: name, from: ref.From, dtype: d, dims: doc.Dimensions, width: 1, attrs: doc.Attributes}
		if len(doc.Shape) == 2 {
			c.width = int(doc.Shape[1])
		}
		columns[i] = c
	}
	return columns, nil
}
