package demo

import (
	"encoding/binary"
	"math"
)

// A tone is a few seconds of sound to be made: a chord that swells and fades,
// a little different on each channel.
type tone struct {
	name     string
	rate     int
	channels int
	bits     int
	float    bool
	seconds  float64
}

// tones are the formats that the demo makes.
var tones = []tone{
	{name: "stereo16", rate: 44100, channels: 2, bits: 16, seconds: 3},
	{name: "mono8", rate: 8000, channels: 1, bits: 8, seconds: 3},
	{name: "mono24", rate: 48000, channels: 1, bits: 24, seconds: 2},
	{name: "stereo32f", rate: 48000, channels: 2, bits: 32, float: true, seconds: 2},
}

// frames is how many samples each channel has.
func (t tone) frames() int { return int(t.seconds * float64(t.rate)) }

// wav gives the tone as a RIFF WAVE file, PCM or IEEE float.
func (t tone) wav() []byte {
	block := t.channels * t.bits / 8
	data := t.frames() * block
	b := make([]byte, 0, 44+data)
	b = append(b, "RIFF"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(36+data))
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	code := uint16(1)
	if t.float {
		code = 3
	}
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(t.channels))
	b = binary.LittleEndian.AppendUint32(b, uint32(t.rate))
	b = binary.LittleEndian.AppendUint32(b, uint32(t.rate*block))
	b = binary.LittleEndian.AppendUint16(b, uint16(block))
	b = binary.LittleEndian.AppendUint16(b, uint16(t.bits))
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(data))
	for i := range t.frames() {
		for c := range t.channels {
			b = t.sample(b, t.at(i, c))
		}
	}
	return b
}

// at is the sound pressure of a frame, -1 to 1.
func (t tone) at(frame, channel int) float64 {
	s := float64(frame) / float64(t.rate)
	swell := math.Sin(math.Pi * s / t.seconds)
	chord := math.Sin(2*math.Pi*220*s) + math.Sin(2*math.Pi*277.2*s+float64(channel)) + math.Sin(2*math.Pi*329.6*s)
	return 0.9 * swell * swell * chord / 3
}

// sample encodes one sample.
func (t tone) sample(b []byte, v float64) []byte {
	switch {
	case t.float:
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
	case t.bits == 8:
		return append(b, byte(128+127*v))
	case t.bits == 16:
		return binary.LittleEndian.AppendUint16(b, uint16(int16(32767*v)))
	}
	n := int32(8388607 * v) // 24 bits
	return append(b, byte(n), byte(n>>8), byte(n>>16))
}
