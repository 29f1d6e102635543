package npy

import "encoding/binary"

// BlobHead is the length of what is before the .npy file in a blob.
const BlobHead = 10

// Blob is the beginning of a Wendelin blob whose .npy file has that CRC-32
// (IEEE): six magic bytes and the sum, little endian and without a sign, so
// that there is a blob of every array.
func Blob(crc uint32) []byte {
	return binary.LittleEndian.AppendUint32([]byte("\x92WEN\x00\x01"), crc)
}
