package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/draw"
	_ "image/gif" // registers the format
	_ "image/jpeg"
	_ "image/png"
	"io"
	"io/fs"
	"slices"
	"strings"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"

	"unnoise/runtime/sentence"
)

// limits bound what one file may ask for.
type limits struct {
	file   int64 // bytes of one picture's file
	pixels int   // pixels of one decoded picture
}

var defaultLimits = limits{file: 128 << 20, pixels: 64 << 20}

// memoryBudget bounds the pictures that are decoded at the same time, in bytes. It admits one of the largest.
const memoryBudget = 1 << 30

// reason is why a file is set aside.
type reason struct{ sentence.Text }

// refuse makes a reason of a format, as fmt.Errorf does.
func refuse(format string, a ...any) error { return reason{sentence.Of(sentence.Errorf(format, a...))} }

var errSizes = refuse("its header and its content disagree about its size")

// info is what a picture's header says.
type info struct {
	format         string
	width, height  int // as stored, before EXIF orientation
	channels, bits int
}

// cost is the memory in bytes that decoding and converting the picture may take.
func (in info) cost() int64 {
	return int64(in.width) * int64(in.height) * 4 * int64(in.bits/8) * 2
}

// readInfo reads the header of an encoded picture and refuses what is too large, before any pixel is decoded.
func readInfo(b []byte, lim limits) (in info, err error) {
	defer recovered(&err)
	if len(b) == 0 {
		return in, refuse("the file is empty")
	}
	if int64(len(b)) > lim.file {
		return in, refuse("the file is larger than %d MiB", lim.file>>20)
	}
	cfg, format, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return in, err
	}
	if cfg.Width <= 0 || cfg.Height <= 0 {
		return in, refuse("it has no pixels")
	}
	if err := checkPixels(cfg.Width, cfg.Height, lim); err != nil {
		return in, err
	}
	if format == "webp" {
		if err := checkWebP(b, image.Rect(0, 0, cfg.Width, cfg.Height), lim); err != nil {
			return in, err
		}
	}
	in = info{format: format, width: cfg.Width, height: cfg.Height, channels: 3, bits: 8}
	switch m := cfg.ColorModel.(type) {
	case color.Palette:
		if slices.ContainsFunc(m, func(c color.Color) bool { _, _, _, a := c.RGBA(); return a != 0xffff }) {
			in.channels = 4
		}
	default:
		switch m {
		case color.GrayModel:
			in.channels = 1
		case color.Gray16Model:
			in.channels, in.bits = 1, 16
		case color.NRGBAModel, color.NYCbCrAModel:
			in.channels = 4
		case color.NRGBA64Model:
			in.channels, in.bits = 4, 16
		case color.RGBA64Model:
			in.bits = 16 // PNG's and TIFF's opaque 16-bit colour
		}
	}
	return in, nil
}

func checkPixels(w, h int, lim limits) error {
	if w > lim.pixels/h { // w*h > pixels, without overflow
		return refuse("%d × %d pixels are more than the limit of %d megapixels", w, h, lim.pixels>>20)
	}
	return nil
}

// checkWebP looks at the size in the frame's own header: in an extended file, the size that DecodeConfig reports is that of
// the canvas, while the decoder allocates by the frame's. WebP container specification, RFC 9649 section 2.7; the VP8 frame header is
// RFC 6386 section 9.1. The decoder holds an animation's frame to the size that the animation gives for it, its transparency too.
func checkWebP(b []byte, canvas image.Rectangle, lim limits) error {
	if still, part := firstFrame(b); still != nil {
		if !part.In(canvas) {
			return errSizes
		}
		return nil
	}
	for id, body := range webpChunks(b[min(12, len(b)):]) {
		switch {
		case id == "VP8 " && len(body) >= 10:
			w, h := int(body[6])|int(body[7]&0x3f)<<8, int(body[8])|int(body[9]&0x3f)<<8
			if h > 0 {
				return checkPixels(w, h, lim)
			}
		case id == "VP8L" && len(body) >= 5:
			v := binary.LittleEndian.Uint32(body[1:])
			return checkPixels(int(v&0x3fff)+1, int(v>>14&0x3fff)+1, lim)
		}
	}
	return nil
}

// firstFrame takes the first frame out of an animated WebP, as a file of its own, which golang.org/x/image can read, and
// says which part of the canvas it covers (RFC 9649, section 2.7.1.1). It is nil where the file is not animated.
func firstFrame(b []byte) (still []byte, part image.Rectangle) {
	for id, body := range webpChunks(b[min(12, len(b)):]) {
		switch {
		case id == "VP8 ", id == "VP8L":
			return nil, part
		case id == "ANMF" && len(body) >= 16:
			u24 := func(at int) int { return int(body[at]) | int(body[at+1])<<8 | int(body[at+2])<<16 }
			frame := body[16:]
			flags := byte(0)
			for id := range webpChunks(frame) {
				if id == "ALPH" {
					flags = 1 << 4
				}
			}
			still = binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(4+8+10+len(frame)))
			still = append(still, "WEBPVP8X\x0a\x00\x00\x00"...)
			still = append(append(still, flags, 0, 0, 0), body[6:12]...)
			at := image.Pt(2*u24(0), 2*u24(3))
			return append(still, frame...), image.Rectangle{Min: at, Max: at.Add(image.Pt(u24(6)+1, u24(9)+1))}
		}
	}
	return nil, part
}

// decodePixels decodes a picture whose header has been checked. EXIF orientation is applied, an animation gives its first frame.
func decodePixels(b []byte, in info) (img image.Image, err error) {
	defer recovered(&err)
	if img, err = storedPixels(b, in); err != nil {
		return nil, err
	}
	return upright(img, orientation(b, in.format)), nil
}

// storedPixels decodes a picture as its file holds it.
func storedPixels(b []byte, in info) (img image.Image, err error) {
	var at image.Point // of an animation's first frame
	animated := in.format == "gif"
	if in.format == "webp" {
		if still, where := firstFrame(b); still != nil {
			b, at, animated = still, where.Min, true
		}
	}
	if img, _, err = image.Decode(bytes.NewReader(b)); err != nil {
		return nil, err
	}
	if in.format == "webp" {
		img = videoRange(img)
	}
	full, part := image.Rect(0, 0, in.width, in.height), img.Bounds().Add(at)
	switch {
	case part == full:
		return img, nil
	case animated && part.In(full): // a first frame that covers only a part of the canvas
		canvas := image.NewNRGBA(full)
		draw.Draw(canvas, part, img, img.Bounds().Min, draw.Src)
		return canvas, nil
	case animated, part.Size() != full.Size():
		return nil, errSizes
	}
	return img, nil
}

// videoRange converts the pixels of a lossy WebP, which golang.org/x/image returns as if they were a JPEG's: VP8 keeps luma in 16…235
// and chroma in 16…240 (ITU-R BT.601; RFC 6386, section 9.2), so black would come out dark gray (golang/go issue 40173).
// Chroma is enlarged linearly, as other decoders do. Lossless pictures are returned as they are.
func videoRange(img image.Image) image.Image {
	var src *image.YCbCr
	alpha := func(_, _ int) uint8 { return 255 }
	switch m := img.(type) {
	case *image.YCbCr:
		src = m
	case *image.NYCbCrA:
		src = &m.YCbCr
		alpha = func(x, y int) uint8 { return m.A[m.AOffset(x, y)] }
	default:
		return img
	}
	r := src.Rect
	out := image.NewNRGBA(image.Rect(0, 0, r.Dx(), r.Dy()))
	// Pixels 2i and 2i+1 lie a quarter of a chroma sample from i: the next one has a quarter of the weight, in each direction.
	chroma := func(plane []uint8, x, y int) float64 {
		nx := min(max(x+4*(x&1)-2, r.Min.X), r.Max.X-1)
		ny := min(max(y+4*(y&1)-2, r.Min.Y), r.Max.Y-1)
		at := func(x, y int) float64 { return float64(plane[src.COffset(x, y)]) }
		return (9*at(x, y)+3*at(nx, y)+3*at(x, ny)+at(nx, ny))/16 - 128
	}
	p := out.Pix
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			luma := 255.0 / 219 * (float64(src.Y[src.YOffset(x, y)]) - 16)
			cb, cr := 255.0/224*chroma(src.Cb, x, y), 255.0/224*chroma(src.Cr, x, y)
			p[0] = clamp8(luma + 1.402*cr)
			p[1] = clamp8(luma - 0.344136*cb - 0.714136*cr)
			p[2] = clamp8(luma + 1.772*cb)
			p[3] = alpha(x, y)
			p = p[4:]
		}
	}
	return out
}

func clamp8(v float64) uint8 { return uint8(min(max(v, 0), 255) + 0.5) }

// to8 converts pictures with 16 bits per channel to 8, un-premultiplied, rounding to the nearest; the conversions of the imaging
// library cut off the low byte. Other pictures are returned as they are.
func to8(img image.Image) image.Image {
	var at func(x, y int) (r, g, b, a uint32) // 16 bits, not premultiplied
	switch src := img.(type) {
	case *image.NRGBA64:
		at = func(x, y int) (r, g, b, a uint32) {
			c := src.NRGBA64At(x, y)
			return uint32(c.R), uint32(c.G), uint32(c.B), uint32(c.A)
		}
	case *image.RGBA64:
		at = func(x, y int) (r, g, b, a uint32) {
			c := src.RGBA64At(x, y)
			if c.A == 0 {
				return 0, 0, 0, 0
			}
			a = uint32(c.A)
			un := func(v uint16) uint32 { return min((uint32(v)*0xffff+a/2)/a, 0xffff) } // a hostile file may hold v > a
			return un(c.R), un(c.G), un(c.B), a
		}
	case *image.Gray16:
		at = func(x, y int) (r, g, b, a uint32) {
			v := uint32(src.Gray16At(x, y).Y)
			return v, v, v, 0xffff
		}
	default:
		return img
	}
	rect := img.Bounds()
	out := image.NewNRGBA(image.Rect(0, 0, rect.Dx(), rect.Dy()))
	p := out.Pix
	for y := rect.Min.Y; y < rect.Max.Y; y++ {
		for x := rect.Min.X; x < rect.Max.X; x++ {
			r, g, b, a := at(x, y)
			p[0], p[1], p[2], p[3] = round8(r), round8(g), round8(b), round8(a)
			p = p[4:]
		}
	}
	return out
}

// round8 is the nearest to v·255/65535.
func round8(v uint32) uint8 { return uint8((v + 128) / 257) }

// recovered turns a panic into an error: a decoder that trips over a hostile file must not end the program.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = refuse("it is damaged (%v)", r)
	}
}

// why puts an error into words for the list of bad files.
func why(err error) sentence.Text {
	var r reason
	switch {
	case errors.As(err, &r):
		return r.Text
	case errors.Is(err, image.ErrFormat):
		return sentence.T("its content is not a PNG, JPEG, GIF, BMP, TIFF or WebP picture")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF),
		slices.ContainsFunc([]string{"not enough", "unexpected EOF", "short Huffman", "short chunk data"}, func(s string) bool { return strings.Contains(err.Error(), s) }): // as the decoders put it
		return sentence.T("the file ends too early: it was cut off")
	case errors.Is(err, fs.ErrPermission):
		return sentence.T("there is no permission to read it")
	case errors.Is(err, fs.ErrNotExist):
		return sentence.T("it does not exist any more")
	}
	return sentence.T("it is damaged ({{.Problem}})", "Problem", err)
}
