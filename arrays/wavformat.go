package arrays

import (
	"encoding/binary"
	"fmt"
)

// Format tags of a fmt chunk (Microsoft's mmreg.h).
const (
	wavePCM        = 1
	waveFloat      = 3
	waveExtensible = 0xfffe
)

// A wavFormat is what a fmt chunk says.
type wavFormat struct {
	Tag      uint16 `json:"tag"` // wavePCM or waveFloat
	Channels int    `json:"channels"`
	Rate     int64  `json:"rate"`  // frames a second
	Bits     int    `json:"bits"`  // of a sample as stored
	Valid    int    `json:"valid"` // bits of a sample that mean something
	Mask     uint32 `json:"mask"`  // speaker positions; 0 is none
}

// frame is the size of a frame in the file, in bytes.
func (f wavFormat) frame() int { return f.Channels * f.Bits / 8 }

// dtype is the array's data type: 24 bits become int32, the rest stays.
func (f wavFormat) dtype() string {
	switch {
	case f.Tag == waveFloat:
		return fmt.Sprintf("float%d", f.Bits)
	case f.Bits == 8:
		return "uint8"
	case f.Bits == 24:
		return "int32"
	}
	return fmt.Sprintf("int%d", f.Bits)
}

// parseFormat reads the body of a fmt chunk: 16 bytes, 18 with the size of an
// extension, 40 with the extension that names the format by a GUID.
func parseFormat(b []byte) (wavFormat, error) {
	if len(b) < 16 {
		return wavFormat{}, fmt.Errorf("its fmt chunk has %d bytes; 16 are needed", len(b))
	}
	f := wavFormat{
		Tag:      binary.LittleEndian.Uint16(b),
		Channels: int(binary.LittleEndian.Uint16(b[2:])),
		Rate:     int64(binary.LittleEndian.Uint32(b[4:])),
		Bits:     int(binary.LittleEndian.Uint16(b[14:])),
	}
	f.Valid = f.Bits
	if f.Tag == waveExtensible {
		if len(b) < 40 {
			return f, fmt.Errorf("its extensible fmt chunk has %d bytes; 40 are needed", len(b))
		}
		if v := int(binary.LittleEndian.Uint16(b[18:])); v > 0 && v < f.Bits {
			f.Valid = v
		}
		f.Mask = binary.LittleEndian.Uint32(b[20:])
		f.Tag = binary.LittleEndian.Uint16(b[24:])
	}
	return f, f.check(int(binary.LittleEndian.Uint16(b[12:])))
}

// check says why samples of this format cannot become an array; align is the
// size of a frame that the file claims.
func (f wavFormat) check(align int) error {
	known := f.Tag == wavePCM && (f.Bits == 8 || f.Bits == 16 || f.Bits == 24 || f.Bits == 32) ||
		f.Tag == waveFloat && (f.Bits == 32 || f.Bits == 64)
	switch {
	case f.Channels == 0:
		return fmt.Errorf("it has no channels")
	case f.Channels > maxChannels:
		return fmt.Errorf("it has %d channels; at most %d are possible", f.Channels, maxChannels)
	case f.Rate == 0:
		return fmt.Errorf("its sample rate is 0")
	case f.Tag != wavePCM && f.Tag != waveFloat:
		return fmt.Errorf("its codec 0x%04x is neither PCM nor float", f.Tag)
	case !known:
		return fmt.Errorf("samples of %d bits (codec %d) are not known", f.Bits, f.Tag)
	case align != f.frame():
		return fmt.Errorf("its frames have %d bytes by the header, but %d channels of %d bits are %d", align, f.Channels, f.Bits, f.frame())
	}
	return nil
}

// maxChannels keeps a frame far smaller than a record.
const maxChannels = 1024

// appendFrames converts whole frames to what the array stores.
func (f wavFormat) appendFrames(dst, src []byte) []byte {
	if f.Bits != 24 {
		return append(dst, src...)
	}
	for ; len(src) >= 3; src = src[3:] {
		dst = append(dst, src[0], src[1], src[2], byte(int8(src[2])>>7))
	}
	return dst
}

func (f wavFormat) attrs() map[string]any {
	a := map[string]any{"sample_rate": f.Rate, "bits": f.Valid, "channels": f.Channels}
	if f.Mask != 0 {
		a["channel_mask"] = f.Mask
	}
	return a
}
