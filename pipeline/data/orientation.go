package data

import (
	"bytes"
	"encoding/binary"
	"image"
	"iter"

	"github.com/disintegration/imaging"
)

// Only where a picture is to be turned is read of its metadata, in one pass over its bytes: general readers of Exif follow
// every pointer in it, which takes them a quarter of a minute for one small file made to that end.

// orientation says how the picture of a file is stored, from 1 (upright) to 8. What is damaged counts as missing, as it
// does with other programs.
func orientation(b []byte, format string) int {
	t, err := readTIFF(exif(b, format))
	if err != nil {
		return 1
	}
	const short = 3 // TIFF 6.0, page 36
	if v := t.first(tagOrientation, 1); t.fields[tagOrientation].kind == short && v >= 1 && v <= 8 {
		return int(v)
	}
	return 1
}

// exif is the block of a file that is built like a TIFF file and tells about its picture; nil where there is none.
func exif(b []byte, format string) []byte {
	const head = "Exif\x00\x00"
	switch format {
	case "tiff":
		return b
	case "jpeg":
		for kind, body := range jpegSegments(b) {
			if rest, ok := bytes.CutPrefix(body, []byte(head)); ok && kind == 0xe1 { // Exif 2.32, section 4.7.2
				return rest
			}
		}
	case "png":
		for kind, body := range pngChunks(b) {
			if kind == "eXIf" { // PNG, third edition, section 11.3.4.6
				return body
			}
		}
	case "webp":
		for kind, body := range webpChunks(b[min(12, len(b)):]) {
			if kind == "EXIF" { // RFC 9649, section 2.7.1.5; some programs write a JPEG's head, too
				return bytes.TrimPrefix(body, []byte(head))
			}
		}
	}
	return nil
}

// jpegSegments goes over the segments before the pixels, by their markers' second byte (ITU-T T.81, section B.1.1).
func jpegSegments(b []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for rest := b[min(2, len(b)):]; len(rest) >= 4 && rest[0] == 0xff; {
			if rest[1] == 0xff { // a fill byte
				rest = rest[1:]
				continue
			}
			size := int(binary.BigEndian.Uint16(rest[2:]))
			if rest[1] == 0xda || size < 2 || size+2 > len(rest) || !yield(rest[1], rest[4:2+size]) { // 0xda: the pixels
				return
			}
			rest = rest[2+size:]
		}
	}
}

// pngChunks goes over the chunks of a PNG (third edition, section 5.3).
func pngChunks(b []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for rest := b[min(8, len(b)):]; len(rest) >= 12; {
			size := uint64(binary.BigEndian.Uint32(rest))
			if size+12 > uint64(len(rest)) || !yield(string(rest[4:8]), rest[8:8+size]) {
				return
			}
			rest = rest[12+size:]
		}
	}
}

// webpChunks goes over the chunks behind a WebP's head, or within one of its frames (RFC 9649, sections 2.3 and 2.7.1.1);
// of one that is cut short it gives what there is.
func webpChunks(b []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for rest := b; len(rest) >= 8; {
			id, size := string(rest[:4]), uint64(binary.LittleEndian.Uint32(rest[4:]))
			rest = rest[8:]
			if !yield(id, rest[:min(size, uint64(len(rest)))]) {
				return
			}
			rest = rest[min(size+size&1, uint64(len(rest))):]
		}
	}
}

// upright turns a picture of that orientation as it is to be seen. One with 16 bits per channel has 8 afterwards.
func upright(img image.Image, orientation int) image.Image {
	turn := map[int]func(image.Image) *image.NRGBA{
		2: imaging.FlipH, 3: imaging.Rotate180, 4: imaging.FlipV,
		5: imaging.Transpose, 6: imaging.Rotate270, 7: imaging.Transverse, 8: imaging.Rotate90,
	}[orientation]
	if turn == nil {
		return img
	}
	return turn(to8(img))
}
