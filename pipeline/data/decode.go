package data

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/jsummers/gobmp"
	"golang.org/x/image/webp"

	"unnoise/runtime/sentence"
)

// limits bound what one file may ask for.
type limits struct {
	file   int64 // bytes of one picture's file
	pixels int   // pixels of one decoded picture
}

var defaultLimits = limits{file: 128 << 20, pixels: 64 << 20}

// largePicture is a cost above which memory is collected at once when it is not needed any more: of such pictures there is room for
// few, and the collector would let the garbage grow to as much as all that is in use.
const largePicture = 128 << 20

// memoryBudget bounds the pictures that are decoded at the same time, in bytes. It admits one of the largest.
const memoryBudget = 1 << 30

// encodedBudget bounds the files that are in memory at the same time, in bytes. It admits two of the largest.
const encodedBudget = 257 << 20

// reason is why a file is set aside.
type reason struct{ sentence.Text }

// refuse makes a reason of a format, as fmt.Errorf does.
func refuse(format string, a ...any) error { return reason{sentence.Of(sentence.Errorf(format, a...))} }

var errSizes = refuse("its header and its content disagree about its size")

// info is what a picture's header says.
type info struct {
	format         string
	width, height  int   // as stored, before EXIF orientation
	channels, bits int   // channels: without transparency, which only the pixels tell; see shown
	memory         int64 // that the decoder takes besides the pixels
	cut            bool  // the file is too short to hold the pixels
}

// cost is the memory in bytes that decoding and converting the picture may take.
func (in info) cost() int64 {
	return int64(in.width)*int64(in.height)*4*int64(in.bits/8)*2 + in.memory
}

// format is a kind of file that is read. The kinds are named here, and not asked of the image package, where any library that is
// linked into the program may register more: they would come in without limits and without a test.
type format struct {
	name   string
	is     func(b []byte) bool
	head   func(b []byte) (info, error)
	pixels func(ctx context.Context, b []byte, in info) (image.Image, error)
}

var formats = []format{
	{"png", begins("\x89PNG\r\n\x1a\n"), pngInfo, library(png.Decode)}, // of an APNG, the picture that other readers show, too
	{"jpeg", begins("\xff\xd8"), jpegInfo, decodeJPEG},
	{"gif", begins("GIF87a", "GIF89a"), gifInfo, decodeGIF},
	{"bmp", begins("BM"), bmpInfo, library(gobmp.Decode)}, // which knows more kinds than golang.org/x/image, and is Fyne's already
	{"tiff", begins("II*\x00", "MM\x00*", "II+\x00", "MM\x00+"), tiffInfo, decodeTIFF},
	{"webp", isWebP, webpInfo, decodeWebP},
}

func begins(magic ...string) func([]byte) bool {
	return func(b []byte) bool {
		return slices.ContainsFunc(magic, func(m string) bool { return bytes.HasPrefix(b, []byte(m)) })
	}
}

func isWebP(b []byte) bool {
	return len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP"
}

// formatOf tells a file's kind by its content.
func formatOf(b []byte) (format, error) {
	for _, f := range formats {
		if f.is(b) {
			return f, nil
		}
	}
	if name := foreign(b); name != "" {
		return format{}, refuse("it is a picture of a kind that cannot be read (%s): save it as PNG", name)
	}
	return format{}, image.ErrFormat
}

// foreign names the kinds of picture that are often met and not read, or is "".
func foreign(b []byte) string {
	if len(b) >= 12 && string(b[4:8]) == "ftyp" { // ISO/IEC 14496-12, section 4.3
		switch brand := string(b[8:12]); brand {
		case "avif", "avis":
			return "AVIF"
		case "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1":
			return "HEIC"
		}
	}
	for _, k := range []struct{ magic, name string }{
		{"\xff\x0a", "JPEG XL"},
		{"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"},
		{"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"},
		{"\xff\x4f\xff\x51", "JPEG 2000"},
		{"8BPS", "PSD"},
		{"\x00\x00\x01\x00", "ICO"},
		{"\x00\x00\x02\x00", "CUR"},
		{"DDS ", "DDS"},
		{"qoif", "QOI"},
		{"\x76\x2f\x31\x01", "OpenEXR"},
		{"%PDF", "PDF"},
		{"<svg", "SVG"},
	} {
		if bytes.HasPrefix(b, []byte(k.magic)) {
			return k.name
		}
	}
	return ""
}

// unsupported is the reason for a sound file of a variety that is not read.
func unsupported(format string, variety sentence.Text) error {
	return refuse("this variety of %s (%w) cannot be read: save it as PNG", format, variety)
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
	f, err := formatOf(b)
	if err != nil {
		return in, err
	}
	if in, err = f.head(b); err != nil {
		return in, told(f.name, err)
	}
	if in.width <= 0 || in.height <= 0 {
		return in, refuse("it has no pixels")
	}
	if err := checkPixels(in.width, in.height, lim); err != nil {
		return in, err
	}
	in.format = f.name
	switch {
	case in.cut:
		err = io.ErrUnexpectedEOF
	case f.name == "webp":
		err = checkWebP(b, image.Rect(0, 0, in.width, in.height), lim)
	}
	return in, err
}

// libraryInfo is what a library says about the header.
func libraryInfo(b []byte, config func(io.Reader) (image.Config, error)) (in info, err error) {
	cfg, err := config(bytes.NewReader(b))
	if err != nil {
		return in, err
	}
	in = info{width: cfg.Width, height: cfg.Height, channels: 3, bits: 8}
	switch cfg.ColorModel {
	case color.GrayModel:
		in.channels = 1
	case color.Gray16Model:
		in.channels, in.bits = 1, 16
	case color.NRGBA64Model, color.RGBA64Model:
		in.bits = 16
	}
	return in, nil
}

func pngInfo(b []byte) (info, error) {
	in, err := libraryInfo(b, png.DecodeConfig)
	if err != nil {
		return in, err
	}
	const grayAlpha = 4 // PNG, third edition, section 11.2.1
	if len(b) > 25 && b[25] == grayAlpha {
		in.channels = 1
	}
	// What cannot hold the pixels is refused before they are given memory.
	packed := int64(0)
	for kind, body := range pngChunks(b) {
		if kind == "IDAT" {
			packed += int64(len(body))
		}
	}
	in.cut = packed*deflateRatio < int64(in.height)*(int64(in.width)*int64(b[24])/8+1)
	return in, nil
}

func gifInfo(b []byte) (info, error) { return libraryInfo(b, gif.DecodeConfig) }

func bmpInfo(b []byte) (info, error) {
	in, err := libraryInfo(b, gobmp.DecodeConfig)
	if err != nil {
		return in, err
	}
	const headed, uncompressed = 40, 3 // the long header is used; bit fields are not compressed either
	if le := binary.LittleEndian; len(b) >= 54 && le.Uint32(b[14:]) >= headed && (le.Uint32(b[30:]) == 0 || le.Uint32(b[30:]) == uncompressed) {
		row := (int64(in.width)*int64(le.Uint16(b[28:])) + 31) / 32 * 4
		in.cut = int64(len(b)) < row*int64(in.height)
	}
	return in, nil
}

func webpInfo(b []byte) (info, error) { return libraryInfo(b, webp.DecodeConfig) }

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
func decodePixels(ctx context.Context, b []byte, in info) (img image.Image, err error) {
	defer recovered(&err)
	f, err := formatOf(b)
	if err != nil {
		return nil, err
	}
	if img, err = f.pixels(ctx, b, in); err != nil {
		return nil, told(f.name, err)
	}
	if img.Bounds().Size() != image.Pt(in.width, in.height) {
		return nil, errSizes
	}
	return upright(img, orientation(b, in.format)), nil
}

// told gives the reasons of the libraries their true meaning: what they do not know is not damaged.
func told(format string, err error) error {
	name := strings.ToUpper(format)
	if e, ok := errors.AsType[jpeg.UnsupportedError](err); ok {
		return unsupported(name, sentence.T("{{.Problem}}", "Problem", string(e)))
	}
	if e, ok := errors.AsType[png.UnsupportedError](err); ok {
		return unsupported(name, sentence.T("{{.Problem}}", "Problem", string(e)))
	}
	if e, ok := errors.AsType[gobmp.UnsupportedError](err); ok {
		return unsupported(name, sentence.T("{{.Problem}}", "Problem", string(e)))
	}
	if err.Error() == "gif: no color table" {
		return unsupported(name, sentence.T("no table of colours"))
	}
	return err
}

// library lets a decoder of a library read.
func library(decode func(io.Reader) (image.Image, error)) func(context.Context, []byte, info) (image.Image, error) {
	return func(ctx context.Context, b []byte, _ info) (image.Image, error) {
		return decode(&contextReader{ctx: ctx, b: b, few: 4096})
	}
}

// contextReader reads from memory, a few bytes at a time, until the context ends: so a decoder can be stopped.
type contextReader struct {
	ctx context.Context
	b   []byte
	few int
	n   int // bytes read one at a time
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.few)], r.b)
	r.b = r.b[n:]
	return n, nil
}

// ReadByte keeps the decoders from putting a buffer of their own before it.
func (r *contextReader) ReadByte() (byte, error) {
	if r.n++; r.n%r.few == 0 {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
	}
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v, nil
}

// stoppable reads until the context ends.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

func decodeGIF(ctx context.Context, b []byte, in info) (image.Image, error) {
	img, err := library(gif.Decode)(ctx, b, in)
	if err != nil {
		return nil, err
	}
	return onCanvas(img, img.Bounds(), in)
}

func decodeWebP(ctx context.Context, b []byte, in info) (image.Image, error) {
	still, where := firstFrame(b)
	if still != nil {
		b = still
	}
	img, err := library(webp.Decode)(ctx, b, in)
	if err != nil {
		return nil, err
	}
	if img, err = videoRange(ctx, img); err != nil || still == nil {
		return img, err
	}
	return onCanvas(img, img.Bounds().Add(where.Min), in)
}

// onCanvas lays an animation's first frame where it belongs.
func onCanvas(img image.Image, part image.Rectangle, in info) (image.Image, error) {
	full := image.Rect(0, 0, in.width, in.height)
	switch {
	case part == full:
		return img, nil
	case !part.In(full):
		return nil, errSizes
	}
	canvas := image.NewNRGBA(full)
	draw.Draw(canvas, part, img, img.Bounds().Min, draw.Src)
	return canvas, nil
}

// shown is the number of channels that the pixels of a picture need: transparency counts where there is some, whatever the file
// has room for. Gray counts as gray where it is stored so: gray pictures stored as colour go well together with coloured ones, and
// a JPEG's are never quite gray.
func (in info) shown(img image.Image) int {
	if o, ok := img.(interface{ Opaque() bool }); ok && !o.Opaque() {
		return 4
	}
	return in.channels
}

// videoRange converts the pixels of a lossy WebP, which golang.org/x/image returns as if they were a JPEG's: VP8 keeps luma in 16…235
// and chroma in 16…240 (ITU-R BT.601; RFC 6386, section 9.2), so black would come out dark gray (golang/go issue 40173).
// Chroma is enlarged linearly, as it is for JPEG and by other decoders. Lossless pictures are returned as they are.
func videoRange(ctx context.Context, img image.Image) (image.Image, error) {
	var src *image.YCbCr
	alpha := func(_, _ int) uint8 { return 255 }
	switch m := img.(type) {
	case *image.YCbCr:
		src = m
	case *image.NYCbCrA:
		src = &m.YCbCr
		alpha = func(x, y int) uint8 { return m.A[m.AOffset(x, y)] }
	default:
		return img, nil
	}
	w, h := src.Rect.Dx(), src.Rect.Dy()
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	cb := plane{pix: src.Cb, stride: src.CStride, w: (w + 1) / 2, h: (h + 1) / 2, fx: 2, fy: 2, webp: true}
	cr := cb
	cr.pix = src.Cr
	us, vs := make([]uint8, w), make([]uint8, w)
	for y := range h {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		cb.row(y, us)
		cr.row(y, vs)
		row := out.Pix[y*out.Stride:]
		for x, l := range src.Y[y*src.YStride:][:w] {
			p := row[4*x : 4*x+4]
			p[0], p[1], p[2] = fromVideo(int32(l), int32(us[x]), int32(vs[x]))
			p[3] = alpha(x, y)
		}
	}
	return out, nil
}

// fromVideo converts by BT.601 in 6 bits of fraction, so that the last one is as other WebP decoders have it: the factors are
// 255/219, and 255/224 times 1.402, 0.344136, 0.714136 and 1.772; the last term takes off the offsets and rounds.
func fromVideo(y, u, v int32) (r, g, b uint8) {
	times := func(v, factor int32) int32 { return v * factor >> 8 }
	l := times(y, 19077)
	return clip8((l + times(v, 26149) - 14234) >> 6), clip8((l - times(u, 6419) - times(v, 13320) + 8708) >> 6),
		clip8((l + times(u, 33050) - 17685) >> 6)
}

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
	case errors.Is(err, zip.ErrAlgorithm):
		return sentence.T("the archive packs it in a way that cannot be read: pack it anew with the usual method (deflate)")
	case errors.Is(err, fs.ErrPermission):
		return sentence.T("there is no permission to read it")
	case errors.Is(err, fs.ErrNotExist):
		return sentence.T("it does not exist any more")
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok { // which path is told beside it
		if no, ok := errors.AsType[syscall.Errno](e); ok {
			return sentence.T("it cannot be opened ({{.Problem}})", "Problem", no)
		}
		err = e.Err
	}
	return sentence.T("it is damaged ({{.Problem}})", "Problem", err)
}
