package e2e

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
)

// A sound is a wav file to be made.
type sound struct {
	name             string
	frames, channels int
	bits             int
	float            bool
	extensible       bool // format given by a GUID
	rf64             bool // 64-bit sizes
	streaming        bool // sizes unknown when the header was written
	extras           bool // other chunks before and after the data
	dtype            string
}

// sounds are files of every format that is taken.
func sounds() []sound {
	var list []sound
	for _, channels := range []int{1, 2, 5} {
		for _, f := range []sound{
			{bits: 8, dtype: "uint8"},
			{bits: 16, dtype: "int16"},
			{bits: 24, dtype: "int32"},
			{bits: 32, dtype: "int32"},
			{bits: 32, float: true, dtype: "float32"},
			{bits: 64, float: true, dtype: "float64"},
		} {
			f.channels, f.frames = channels, 4801
			f.extensible = channels == 5 || f.bits == 24
			kind := "pcm"
			if f.float {
				kind = "float"
			}
			f.name = fmt.Sprintf("%s%d.%dch", kind, f.bits, channels)
			list = append(list, f)
		}
	}
	return append(list,
		sound{name: "rf64", frames: 10_000, channels: 2, bits: 16, rf64: true, dtype: "int16"},
		sound{name: "streaming", frames: 10_000, channels: 2, bits: 16, streaming: true, dtype: "int16"},
		sound{name: "extras", frames: 333, channels: 1, bits: 8, extras: true, dtype: "uint8"},
		sound{name: "long", frames: 400_000, channels: 2, bits: 16, dtype: "int16"},
	)
}

// header is the file up to its samples, of which there will be n bytes.
func (s sound) header(n int) []byte {
	format := s.format()
	var extra []byte
	if s.extras { // an odd length, which is padded
		extra = append(chunkHead("LIST", 5), "INFOx\x00"...)
	}
	size := uint32(4 + len(extra) + 8 + len(format) + 8 + n + n%2)
	id, data := "RIFF", uint32(n)
	var ds64 []byte
	switch {
	case s.streaming:
		size, data = 0xffffffff, 0xffffffff
	case s.rf64:
		id = "RF64"
		ds64 = chunkHead("ds64", 28)
		ds64 = binary.LittleEndian.AppendUint64(ds64, uint64(size)+36)
		ds64 = binary.LittleEndian.AppendUint64(ds64, uint64(n))
		ds64 = binary.LittleEndian.AppendUint64(ds64, uint64(s.frames))
		ds64 = binary.LittleEndian.AppendUint32(ds64, 0)
		size, data = 0xffffffff, 0xffffffff
	}
	b := append(chunkHead(id, size), "WAVE"...)
	b = append(b, ds64...)
	b = append(b, extra...)
	b = append(b, chunkHead("fmt ", uint32(len(format)))...)
	b = append(b, format...)
	return append(b, chunkHead("data", data)...)
}

func chunkHead(id string, size uint32) []byte {
	return binary.LittleEndian.AppendUint32([]byte(id), size)
}

func (s sound) format() []byte {
	code := uint16(1)
	if s.float {
		code = 3
	}
	tag := code
	if s.extensible {
		tag = 0xfffe
	}
	block := s.channels * s.bits / 8
	b := binary.LittleEndian.AppendUint16(nil, tag)
	b = binary.LittleEndian.AppendUint16(b, uint16(s.channels))
	b = binary.LittleEndian.AppendUint32(b, 48_000)
	b = binary.LittleEndian.AppendUint32(b, uint32(48_000*block))
	b = binary.LittleEndian.AppendUint16(b, uint16(block))
	b = binary.LittleEndian.AppendUint16(b, uint16(s.bits))
	if s.extensible {
		b = binary.LittleEndian.AppendUint16(b, 22)
		b = binary.LittleEndian.AppendUint16(b, uint16(s.bits))
		b = binary.LittleEndian.AppendUint32(b, 0)
		b = binary.LittleEndian.AppendUint16(b, code)
		b = append(b, "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"...)
	}
	return b
}

// file gives a whole file and its samples as the array must have them.
func (s sound) file(seed uint64) (file []byte, samples any) {
	r := rand.New(rand.NewPCG(seed, 1))
	n := s.frames * s.channels
	var data []byte
	switch {
	case s.float && s.bits == 32:
		v := make([]float32, n)
		for i := range v {
			v[i] = r.Float32()*2 - 1
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v[i]))
		}
		samples = v
	case s.float:
		v := make([]float64, n)
		for i := range v {
			v[i] = r.Float64()*2 - 1
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v[i]))
		}
		samples = v
	case s.bits == 8:
		v := make([]uint8, n)
		for i := range v {
			v[i] = uint8(r.Uint32())
		}
		data, samples = append(data, v...), v
	case s.bits == 16:
		v := make([]int16, n)
		for i := range v {
			v[i] = int16(r.Uint32())
			data = binary.LittleEndian.AppendUint16(data, uint16(v[i]))
		}
		samples = v
	default:
		v := make([]int32, n)
		for i := range v {
			v[i] = int32(r.Uint32()) >> (32 - s.bits)
			data = append(data, binary.LittleEndian.AppendUint32(nil, uint32(v[i]))[:s.bits/8]...)
		}
		samples = v
	}
	file = append(s.header(len(data)), data...)
	if len(data)%2 == 1 && !s.streaming {
		file = append(file, 0)
	}
	if s.extras {
		file = append(append(file, chunkHead("LIST", 4)...), "INFO"...)
	}
	return file, samples
}
