package data

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"

	"unnoise/runtime/sentence"
)

// TIFF is read here, its compressions by libraries: those that read whole files leave out tags that change what the pixels
// mean (planes, the order of bits, fax pictures the other way round) and give wrong pixels. Every such tag is looked at, and
// what is not known is refused by name. TIFF 6.0 is the specification; BigTIFF is that of libtiff.

// Tags (TIFF 6.0, part 1 and sections 8 to 22).
const (
	tagWidth           = 256
	tagHeight          = 257
	tagBits            = 258
	tagCompression     = 259
	tagPhotometric     = 262
	tagFillOrder       = 266
	tagStripOffsets    = 273
	tagOrientation     = 274
	tagSamples         = 277
	tagRowsPerStrip    = 278
	tagStripByteCounts = 279
	tagPlanar          = 284
	tagT4Options       = 292
	tagT6Options       = 293
	tagPredictor       = 317
	tagColourMap       = 320
	tagTileWidth       = 322
	tagTileHeight      = 323
	tagTileOffsets     = 324
	tagTileByteCounts  = 325
	tagInkSet          = 332
	tagExtraSamples    = 338
	tagSampleFormat    = 339
	tagJPEGTables      = 347
	tagJPEGStart       = 513
)

// maxTIFFParts bounds the strips or tiles of a picture, maxTIFFSamples the samples of a pixel.
const (
	maxTIFFParts   = 1 << 20
	maxTIFFSamples = 64
)

// tiffCompressions are those that are known and not read.
var tiffCompressions = map[uint64]string{
	2: "CCITT RLE", 6: "old-style JPEG", 9: "JBIG", 10: "JBIG", 32766: "NeXT", 32771: "CCITT RLE", 32809: "ThunderScan",
	34661: "JBIG", 34676: "SGI Log", 34677: "SGI Log", 34712: "JPEG 2000", 33003: "JPEG 2000", 33005: "JPEG 2000",
	34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}

// tiffFields are the fields of a TIFF's first directory, of which pictures and Exif blocks are made.
type tiffFields struct {
	order  binary.ByteOrder
	fields map[uint16]tiffField
}

type tiffField struct {
	order binary.ByteOrder
	kind  uint16
	n     uint64
	raw   []byte // nil where it lies outside the file
}

// tiffSizes are the bytes of a value of each type; 0 is one that is not known.
var tiffSizes = [...]uint64{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8}

// readTIFF reads the first directory. It follows no other pointers than those to the values of its fields.
func readTIFF(b []byte) (t tiffFields, err error) {
	if len(b) < 8 {
		return t, io.ErrUnexpectedEOF
	}
	t.order = binary.LittleEndian
	if b[0] == 'M' {
		t.order = binary.BigEndian
	}
	if string(b[:2]) != "II" && string(b[:2]) != "MM" {
		return t, image.ErrFormat
	}
	var at, n uint64
	entry, wide := 12, false
	switch magic := t.order.Uint16(b[2:]); magic {
	case 42:
		at = uint64(t.order.Uint32(b[4:]))
		if at+2 > uint64(len(b)) {
			return t, io.ErrUnexpectedEOF
		}
		n = uint64(t.order.Uint16(b[at:]))
		at += 2
	case 43:
		if len(b) < 16 {
			return t, io.ErrUnexpectedEOF
		}
		at = t.order.Uint64(b[8:])
		if at > uint64(len(b)) || uint64(len(b))-at < 8 {
			return t, io.ErrUnexpectedEOF
		}
		n = t.order.Uint64(b[at:])
		at += 8
		entry, wide = 20, true
	default:
		return t, image.ErrFormat
	}
	t.fields = map[uint16]tiffField{}
	for rest := b[at:]; n > 0 && len(rest) >= entry; n-- {
		f := tiffField{order: t.order, kind: t.order.Uint16(rest[2:])}
		var value []byte
		if wide {
			f.n, value = t.order.Uint64(rest[4:]), rest[12:20]
		} else {
			f.n, value = uint64(t.order.Uint32(rest[4:])), rest[8:12]
		}
		if int(f.kind) < len(tiffSizes) && f.n <= uint64(len(b)) {
			size := f.n * tiffSizes[f.kind]
			where := uint64(0)
			if size > uint64(len(value)) {
				if wide {
					where = t.order.Uint64(value)
				} else {
					where = uint64(t.order.Uint32(value))
				}
				value = b
			}
			if where <= uint64(len(value)) && size <= uint64(len(value))-where {
				f.raw = value[where : where+size]
			}
		}
		if tag := t.order.Uint16(rest); t.fields[tag].order == nil { // of a repeated one, the first
			t.fields[tag] = f
		}
		rest = rest[entry:]
	}
	return t, nil
}

// at is value i as a whole number.
func (f tiffField) at(i uint64) (uint64, bool) {
	if i >= f.n || f.raw == nil {
		return 0, false
	}
	switch f.kind {
	case 1:
		return uint64(f.raw[i]), true
	case 3:
		return uint64(f.order.Uint16(f.raw[2*i:])), true
	case 4, 13:
		return uint64(f.order.Uint32(f.raw[4*i:])), true
	case 16, 18:
		return f.order.Uint64(f.raw[8*i:]), true
	}
	return 0, false
}

// first is the first value of a field, or what counts where there is none.
func (t tiffFields) first(tag uint16, none uint64) uint64 {
	if v, ok := t.fields[tag].at(0); ok {
		return v
	}
	return none
}

// tiffPicture is what the fields say about the picture.
type tiffPicture struct {
	tiffFields
	width, height  int
	depth, samples int // bits of a sample, samples of a pixel
	colours        int // of the samples: 1, 3, or 4 for inks
	alpha          int // which sample, or -1
	premultiplied  bool
	photometric    uint64
	compression    uint64
	predictor      uint64
	whole          uint64 // where the JPEG of an old-style file begins
	floats         bool
	planar         bool
	reversed       bool // the bits of each byte
	blockW, blockH int
	across, down   int
	offsets        tiffField
	counts         tiffField
}

// readTIFFPicture checks every field that changes what the pixels mean.
func readTIFFPicture(b []byte) (p tiffPicture, err error) {
	if p.tiffFields, err = readTIFF(b); err != nil {
		return p, err
	}
	w, h := p.first(tagWidth, 0), p.first(tagHeight, 0)
	if w > math.MaxInt32 || h > math.MaxInt32 {
		return p, refuse("%d × %d pixels are more than the limit of %d megapixels", w, h, defaultLimits.pixels>>20)
	}
	p.width, p.height = int(w), int(h)
	if w == 0 || h == 0 {
		return p, nil // refused for that
	}
	samples := p.first(tagSamples, max(p.fields[tagBits].n, 1))
	if samples < 1 || samples > maxTIFFSamples {
		return p, unsupported("TIFF", sentence.T("{{.N}} channels", "N", samples))
	}
	p.samples = int(samples)
	switch p.compression = p.first(tagCompression, 1); p.compression {
	case 1, 3, 4, 5, 7, 8, 32773, 32946:
	case 6: // where it is a whole JPEG, as it mostly is, it is read as one
		from := p.first(tagJPEGStart, math.MaxUint64)
		if from >= uint64(len(b)) || !bytes.HasPrefix(b[from:], []byte("\xff\xd8")) || p.first(tagRowsPerStrip, h) < h {
			return p, unsupported("TIFF", sentence.T("compression {{.N}}", "N", tiffCompressions[6]))
		}
		p.compression, p.whole = 7, from
	default:
		name := tiffCompressions[p.compression]
		if name == "" {
			name = strconv.FormatUint(p.compression, 10)
		}
		return p, unsupported("TIFF", sentence.T("compression {{.N}}", "N", name))
	}
	if err := p.readColours(); err != nil {
		return p, err
	}
	if err := p.readDepth(); err != nil {
		return p, err
	}
	if err := p.readCompression(); err != nil {
		return p, err
	}
	return p, p.readParts(b)
}

func (p *tiffPicture) readColours() error {
	p.photometric = p.first(tagPhotometric, math.MaxUint64)
	switch p.photometric {
	case 0, 1, 3:
		p.colours = 1
	case 2:
		p.colours = 3
	case 5:
		p.colours = 4
		if set := p.first(tagInkSet, 1); set != 1 {
			return unsupported("TIFF", sentence.T("inks other than cyan, magenta, yellow and black"))
		}
	case 6:
		p.colours = 3
		if p.compression != 7 {
			return unsupported("TIFF", sentence.T("YCbCr colours without JPEG compression"))
		}
	case 4:
		return unsupported("TIFF", sentence.T("a transparency mask"))
	case 8, 9, 10:
		return unsupported("TIFF", sentence.T("L*a*b* colours"))
	case 32803, 34892:
		return unsupported("TIFF", sentence.T("a camera's raw data"))
	case 32844, 32845:
		return unsupported("TIFF", sentence.T("LogLuv colours"))
	case math.MaxUint64:
		return unsupported("TIFF", sentence.T("it does not say what its values mean"))
	default:
		return unsupported("TIFF", sentence.T("colour model {{.N}}", "N", p.photometric))
	}
	if p.samples < p.colours {
		return unsupported("TIFF", sentence.T("{{.N}} channels", "N", p.samples))
	}
	p.alpha = -1
	extra, some := p.fields[tagExtraSamples]
	for i := range p.samples - p.colours {
		kind, ok := extra.at(uint64(i))
		if !some && p.colours == 3 && p.samples == 4 {
			kind, ok = 2, true // as other readers take it
		}
		if ok && (kind == 1 || kind == 2) {
			p.alpha, p.premultiplied = p.colours+i, kind == 1
			break
		}
	}
	return nil
}

func (p *tiffPicture) readDepth() error {
	depth := p.fields[tagBits]
	first := p.first(tagBits, 1)
	for i := range min(depth.n, uint64(p.samples)) {
		if v, ok := depth.at(i); ok && v != first {
			return unsupported("TIFF", sentence.T("channels of different depths"))
		}
	}
	format := p.fields[tagSampleFormat]
	kind := p.first(tagSampleFormat, 1)
	for i := range min(format.n, uint64(p.samples)) {
		if v, ok := format.at(i); ok && v != kind {
			return unsupported("TIFF", sentence.T("channels of different kinds"))
		}
	}
	switch {
	case kind == 3:
		p.floats = true
		if first != 16 && first != 32 && first != 64 || p.photometric == 3 {
			return unsupported("TIFF", sentence.T("floating-point values of {{.N}} bits", "N", first))
		}
	case kind != 1 && kind != 4:
		return unsupported("TIFF", sentence.T("values with a sign, or complex ones"))
	case first < 1 || first > 16:
		return unsupported("TIFF", sentence.T("{{.N}} bits per channel", "N", first))
	case p.photometric == 3 && first > 8:
		return unsupported("TIFF", sentence.T("a palette of more than 256 colours"))
	}
	p.depth = int(first)
	return nil
}

func (p *tiffPicture) readCompression() error {
	p.planar = p.first(tagPlanar, 1) == 2 && p.samples > 1
	p.reversed = p.first(tagFillOrder, 1) == 2
	p.predictor = 1
	switch p.compression {
	case 1, 32773:
	case 3, 4:
		if p.depth != 1 || p.samples != 1 {
			return unsupported("TIFF", sentence.T("fax compression of more than black and white"))
		}
		if p.compression == 3 && p.first(tagT4Options, 0)&1 != 0 {
			return unsupported("TIFF", sentence.T("two-dimensional fax compression of group 3"))
		}
		if p.compression == 3 && p.first(tagT4Options, 0)&4 != 0 {
			return unsupported("TIFF", sentence.T("fax compression of group 3 with fill bits"))
		}
		if p.first(tagT4Options, 0)&2 != 0 || p.first(tagT6Options, 0)&2 != 0 {
			return unsupported("TIFF", sentence.T("fax compression with uncompressed parts"))
		}
	case 5, 8, 32946:
		p.predictor = p.first(tagPredictor, 1)
	case 7:
		if p.depth != 8 {
			return unsupported("TIFF", sentence.T("JPEG compression of {{.N}} bits per channel", "N", p.depth))
		}
		if p.colours != p.samples {
			return unsupported("TIFF", sentence.T("JPEG compression with transparency"))
		}
		if p.photometric == 6 && p.planar {
			return unsupported("TIFF", sentence.T("YCbCr colours in planes"))
		}
	}
	switch {
	case p.predictor == 1:
	case p.predictor == 2 && !p.floats && (p.depth == 8 || p.depth == 16):
	case p.predictor == 2 && p.floats && (p.depth == 16 || p.depth == 32): // the differences are of the bits
	case p.predictor == 3 && p.floats:
	default:
		return unsupported("TIFF", sentence.T("predictor {{.N}} with {{.Depth}} bits per channel", "N", p.predictor, "Depth", p.depth))
	}
	return nil
}

// readParts finds the strips or tiles.
func (p *tiffPicture) readParts(b []byte) error {
	p.blockW, p.blockH = p.width, p.height
	p.offsets, p.counts = p.fields[tagStripOffsets], p.fields[tagStripByteCounts]
	if _, tiled := p.fields[tagTileWidth]; tiled {
		w, h := p.first(tagTileWidth, 0), p.first(tagTileHeight, 0)
		if w < 1 || h < 1 || w > 1<<16 || h > 1<<16 || int64(w*h) > int64(defaultLimits.pixels) {
			return unsupported("TIFF", sentence.T("tiles of {{.Width}} × {{.Height}} pixels", "Width", w, "Height", h))
		}
		p.blockW, p.blockH = int(w), int(h)
		if _, ok := p.fields[tagTileOffsets]; ok { // some keep them under the names of strips
			p.offsets, p.counts = p.fields[tagTileOffsets], p.fields[tagTileByteCounts]
		}
	} else if rows := p.first(tagRowsPerStrip, math.MaxUint64); rows > 0 && rows < uint64(p.height) {
		p.blockH = int(rows)
	}
	p.across, p.down = (p.width+p.blockW-1)/p.blockW, (p.height+p.blockH-1)/p.blockH
	parts := int64(p.across) * int64(p.down)
	if p.planar {
		parts *= int64(p.samples)
	}
	if parts > maxTIFFParts {
		return unsupported("TIFF", sentence.T("{{.N}} parts", "N", parts))
	}
	if p.offsets.n < uint64(parts) || p.offsets.raw == nil {
		return io.ErrUnexpectedEOF
	}
	if p.counts.n == 0 && parts == 1 { // what old writers left out
		return nil
	}
	if p.counts.n < uint64(parts) || p.counts.raw == nil {
		return io.ErrUnexpectedEOF
	}
	sum := uint64(0)
	for i := range uint64(parts) {
		from, _ := p.offsets.at(i)
		n, _ := p.counts.at(i)
		sum += min(n, uint64(len(b))-min(from, uint64(len(b))))
	}
	if sum > 4*uint64(len(b))+1<<20 {
		return refuse("it is damaged (%v)", sentence.T("its parts overlap"))
	}
	return nil
}

// rowBytes are those of one row of a part.
func (p *tiffPicture) rowBytes() int {
	n := p.samples
	if p.planar {
		n = 1
	}
	return (p.blockW*n*p.depth + 7) / 8
}

func tiffInfo(b []byte) (in info, err error) {
	p, err := readTIFFPicture(b)
	if err != nil {
		return in, err
	}
	in = info{width: p.width, height: p.height, channels: 3, bits: 8}
	if p.width == 0 || p.height == 0 {
		return in, nil
	}
	if p.colours == 1 && p.photometric != 3 {
		in.channels = 1
	}
	if p.depth > 8 {
		in.bits = 16
	}
	planes := 1
	if p.planar {
		planes = p.samples
	}
	in.memory = int64(p.rowBytes()) * int64(min(p.blockH, p.height)) * int64(planes)
	if p.compression == 7 {
		in.memory *= 6
	}
	if p.floats {
		in.memory += int64(p.width) * int64(p.height) * 4 * int64(p.outChannels())
	}
	return in, nil
}

// outChannels are those that are kept: the colours and the transparency.
func (p *tiffPicture) outChannels() int {
	if p.alpha >= 0 {
		return p.colours + 1
	}
	return p.colours
}

func decodeTIFF(ctx context.Context, b []byte, _ info) (image.Image, error) {
	p, err := readTIFFPicture(b)
	if err != nil {
		return nil, err
	}
	d := tiffDecoder{tiffPicture: p, b: b, work: maxScanBlocks}
	return d.decode(ctx)
}

// tiffDecoder decodes one picture.
type tiffDecoder struct {
	tiffPicture
	b    []byte
	work int // blocks of JPEG that may still be decoded
}

func (d *tiffDecoder) decode(ctx context.Context) (image.Image, error) {
	put, out, err := d.canvas()
	if err != nil {
		return nil, err
	}
	planes, each := 1, d.samples // samples of a part's pixel
	if d.planar {
		planes, each = d.samples, 1
	}
	stride := d.rowBytes()
	rows := min(d.blockH, d.height)
	parts := make([][]byte, planes)
	for i := range parts {
		parts[i] = make([]byte, stride*rows)
	}
	values := make([]uint64, d.blockW*d.samples)
	_, tiled := d.fields[tagTileWidth]
	for k := range d.across * d.down {
		x0, y0 := k%d.across*d.blockW, k/d.across*d.blockH
		n := min(rows, d.height-y0)
		stored := n
		if tiled {
			stored = d.blockH
		}
		for plane := range planes {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if d.planar && d.channel(plane) < 0 {
				continue
			}
			if err := d.part(ctx, plane*d.across*d.down+k, n, stored, parts[plane][:stride*n]); err != nil {
				return nil, err
			}
		}
		for y := range n {
			for plane := range planes {
				d.unpack(parts[plane][y*stride:(y+1)*stride], values[plane:], each)
			}
			for x := range min(d.blockW, d.width-x0) {
				put(x0+x, y0+y, values[x*d.samples:])
			}
		}
	}
	return out()
}

// channel is where a sample of a pixel is kept, or -1.
func (d *tiffDecoder) channel(sample int) int {
	switch {
	case sample < d.colours:
		return sample
	case sample == d.alpha:
		return d.colours
	}
	return -1
}

// unpack reads the samples of a row into values, those of one plane d.samples apart.
func (d *tiffDecoder) unpack(row []byte, values []uint64, each int) {
	n := d.blockW * each
	step := d.samples / each
	switch d.depth {
	case 8:
		for i := range n {
			values[i*step] = uint64(row[i])
		}
	case 16:
		for i := range n {
			values[i*step] = uint64(d.order.Uint16(row[2*i:]))
		}
	case 32:
		for i := range n {
			values[i*step] = uint64(d.order.Uint32(row[4*i:]))
		}
	case 64:
		for i := range n {
			values[i*step] = d.order.Uint64(row[8*i:])
		}
	default:
		bit := 0
		for i := range n {
			v := uint64(0)
			for range d.depth {
				v = v<<1 | uint64(row[bit>>3]>>(7-bit&7)&1)
				bit++
			}
			values[i*step] = v
		}
	}
}

// part decompresses a strip or tile: n rows of it, of the stored ones, into dst.
func (d *tiffDecoder) part(ctx context.Context, i, n, stored int, dst []byte) error {
	from, _ := d.offsets.at(uint64(i))
	size, counted := d.counts.at(uint64(i))
	if d.whole > 0 {
		from, counted = d.whole, false
	}
	if from > uint64(len(d.b)) {
		return io.ErrUnexpectedEOF
	}
	src := d.b[from:]
	if counted && size < uint64(len(src)) {
		src = src[:size]
	}
	if d.compression == 7 {
		return d.jpegPart(ctx, src, n, stored, dst)
	}
	if d.reversed {
		turned := make([]byte, len(src))
		for i, v := range src {
			turned[i] = bits.Reverse8(v)
		}
		src = turned
	}
	var r io.Reader = &contextReader{ctx: ctx, b: src, few: 4096}
	switch d.compression {
	case 1:
	case 3, 4:
		kind := ccitt.Group4
		if d.compression == 3 {
			kind = ccitt.Group3
		}
		// As the standard has it, a white pixel is 0. What that means for the picture, PhotometricInterpretation says.
		r = ccitt.NewReader(r, ccitt.MSB, kind, d.blockW, n, &ccitt.Options{Invert: true})
	case 5:
		if len(src) > 1 && src[0] == 0 && src[1]&1 != 0 {
			return unsupported("TIFF", sentence.T("LZW compression of an old kind"))
		}
		z := lzw.NewReader(r, lzw.MSB, 8)
		defer z.Close()
		r = z
	case 8, 32946:
		z, err := zlib.NewReader(r)
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	case 32773:
		r = &packBits{r: r.(*contextReader)}
	}
	if _, err := io.ReadFull(r, dst); err != nil {
		if strings.Contains(err.Error(), "missing End-of-Line") {
			return unsupported("TIFF", sentence.T("fax compression of group 3 without ends of lines"))
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	each := d.samples
	if d.planar {
		each = 1
	}
	stride := d.rowBytes()
	for y := range n {
		d.predicted(dst[y*stride:(y+1)*stride], each)
	}
	return nil
}

// predicted undoes the predictor of one row (TIFF 6.0, section 14; the third one is that of Adobe's Technical Note 3).
func (d *tiffDecoder) predicted(row []byte, each int) {
	switch {
	case d.predictor == 2 && d.depth == 8:
		for i := each; i < len(row); i++ {
			row[i] += row[i-each]
		}
	case d.predictor == 2 && d.depth == 16:
		for i := 2 * each; i+2 <= len(row); i += 2 {
			d.order.PutUint16(row[i:], d.order.Uint16(row[i:])+d.order.Uint16(row[i-2*each:]))
		}
	case d.predictor == 2:
		for i := 4 * each; i+4 <= len(row); i += 4 {
			d.order.PutUint32(row[i:], d.order.Uint32(row[i:])+d.order.Uint32(row[i-4*each:]))
		}
	case d.predictor == 3:
		for i := each; i < len(row); i++ {
			row[i] += row[i-each]
		}
		size := d.depth / 8 // all first bytes of the values, the highest, then all second ones, …
		values := len(row) / size
		apart := bytes.Clone(row)
		for i := range values {
			for k := range size {
				at := k
				if d.order == binary.ByteOrder(binary.LittleEndian) {
					at = size - 1 - k
				}
				row[i*size+at] = apart[k*values+i]
			}
		}
	}
}

// jpegPart decodes a strip or tile that is a JPEG, whose tables may stand elsewhere in the file.
func (d *tiffDecoder) jpegPart(ctx context.Context, src []byte, n, stored int, dst []byte) error {
	if tables := d.fields[tagJPEGTables].raw; len(tables) > 4 && len(src) > 2 {
		src = append(append(bytes.Clone(tables[:len(tables)-2]), src[2:]...), 0xff, 0xd9)
	}
	h, err := readJPEG(src, d.work)
	if err != nil {
		return err
	}
	d.work -= h.blocks
	each := d.samples
	if d.planar {
		each = 1
	}
	if len(h.ids) != each || h.width != d.blockW || h.height != stored && h.height != d.blockH {
		return errSizes
	}
	p, err := h.decode(ctx, src)
	if err != nil {
		return err
	}
	stride := d.rowBytes()
	for y := range n {
		p.row(y, d.photometric == 6 && !h.rgb(), dst[y*stride:(y+1)*stride])
	}
	return nil
}

// canvas gives the picture's pixels a place, and says how they get there.
func (d *tiffDecoder) canvas() (put func(x, y int, v []uint64), out func() (image.Image, error), err error) {
	rect := image.Rect(0, 0, d.width, d.height)
	if d.floats {
		return d.floatCanvas(rect)
	}
	most := uint64(1)<<d.depth - 1
	if d.photometric == 3 {
		return d.paletteCanvas(rect)
	}
	full, deep := uint64(255), d.depth > 8
	if deep {
		full = 65535
	}
	scale := func(v uint64) uint32 { return uint32((v*full + most/2) / most) }
	if d.colours == 1 && d.alpha < 0 {
		light := func(v uint64) uint64 {
			if d.photometric == 0 {
				return most - v
			}
			return v
		}
		if deep {
			img := image.NewGray16(rect)
			return func(x, y int, v []uint64) {
				binary.BigEndian.PutUint16(img.Pix[y*img.Stride+2*x:], uint16(scale(light(v[0]))))
			}, func() (image.Image, error) { return img, nil }, nil
		}
		img := image.NewGray(rect)
		return func(x, y int, v []uint64) { img.Pix[y*img.Stride+x] = uint8(scale(light(v[0]))) },
			func() (image.Image, error) { return img, nil }, nil
	}
	var set func(x, y int, c [4]uint32)
	var img image.Image
	if deep {
		m := image.NewNRGBA64(rect)
		img, set = m, func(x, y int, c [4]uint32) {
			p := m.Pix[y*m.Stride+8*x:][:8]
			for i, v := range c {
				binary.BigEndian.PutUint16(p[2*i:], uint16(v))
			}
		}
	} else {
		m := image.NewNRGBA(rect)
		img, set = m, func(x, y int, c [4]uint32) {
			p := m.Pix[y*m.Stride+4*x:][:4]
			p[0], p[1], p[2], p[3] = uint8(c[0]), uint8(c[1]), uint8(c[2]), uint8(c[3])
		}
	}
	return func(x, y int, v []uint64) {
		var c [4]uint32
		for i := range d.colours {
			c[i] = scale(v[i])
		}
		a := uint32(full)
		if d.alpha >= 0 {
			a = scale(v[d.alpha])
		}
		set(x, y, d.colour(c, a, uint32(full)))
	}, func() (image.Image, error) { return img, nil }, nil
}

// colour turns scaled samples into red, green, blue and opacity.
func (d *tiffDecoder) colour(c [4]uint32, a, full uint32) [4]uint32 {
	switch d.colours {
	case 1:
		if d.photometric == 0 {
			c[0] = full - c[0]
		}
		c[1], c[2] = c[0], c[0]
	case 4:
		left := uint64(full - c[3])
		for i := range 3 {
			c[i] = uint32((left*uint64(full-c[i]) + uint64(full)/2) / uint64(full))
		}
	}
	c[3] = a
	if d.premultiplied {
		for i := range 3 {
			if a == 0 {
				c[i] = 0
			} else {
				c[i] = uint32(min((uint64(c[i])*uint64(full)+uint64(a)/2)/uint64(a), uint64(full)))
			}
		}
	}
	return c
}

// paletteCanvas is for pictures whose values are numbers of colours.
func (d *tiffDecoder) paletteCanvas(rect image.Rectangle) (put func(x, y int, v []uint64), out func() (image.Image, error), err error) {
	n := uint64(1) << d.depth
	table := d.fields[tagColourMap]
	if table.n < 3*n || table.raw == nil {
		return nil, nil, io.ErrUnexpectedEOF
	}
	shift := 0
	for i := range 3 * n {
		if v, _ := table.at(i); v > 255 {
			shift = 8 // 16 bits, as the specification has it; some writers store 8
		}
	}
	img := image.NewNRGBA(rect)
	return func(x, y int, v []uint64) {
		p := img.Pix[y*img.Stride+4*x:][:4]
		for c := range uint64(3) {
			value, _ := table.at(c*n + v[0])
			p[c] = uint8(value >> shift)
		}
		p[3] = 255
		if d.alpha >= 0 {
			p[3] = uint8(v[d.alpha] * 255 / (n - 1))
		}
	}, func() (image.Image, error) { return img, nil }, nil
}

// floatCanvas keeps the values until all are there: what is white in them, the file does not say. By custom it is 1, or 255
// as in the programs that know 8 bits only; anything else is refused.
func (d *tiffDecoder) floatCanvas(rect image.Rectangle) (put func(x, y int, v []uint64), out func() (image.Image, error), err error) {
	kept := d.outChannels()
	pix := make([]float32, rect.Dx()*rect.Dy()*kept)
	number := func(v uint64) float32 {
		switch d.depth {
		case 16:
			return float16(uint16(v))
		case 32:
			return math.Float32frombits(uint32(v))
		}
		return float32(math.Float64frombits(v))
	}
	least, most, bad := float32(0), float32(0), false
	put = func(x, y int, v []uint64) {
		at := pix[(y*rect.Dx()+x)*kept:][:kept]
		for s := range d.samples {
			c := d.channel(s)
			if c < 0 {
				continue
			}
			f := number(v[s])
			at[c] = f
			if f != f || math.IsInf(float64(f), 0) {
				bad = true
			} else {
				least, most = min(least, f), max(most, f)
			}
		}
	}
	out = func() (image.Image, error) {
		white := float32(1)
		if most > 1 {
			white = 255
		}
		if bad || least < 0 || most > white {
			return nil, unsupported("TIFF", sentence.T("floating-point values outside 0 … 1 and 0 … 255"))
		}
		const full = 65535
		img := image.NewNRGBA64(rect)
		for i := range rect.Dx() * rect.Dy() {
			var v [5]uint32
			v[d.colours] = full
			for k, f := range pix[i*kept:][:kept] {
				v[k] = uint32(f/white*full + 0.5)
			}
			c := [4]uint32{v[0], v[1], v[2], v[3]}
			for k, x := range d.colour(c, v[d.colours], full) {
				binary.BigEndian.PutUint16(img.Pix[8*i+2*k:], uint16(x))
			}
		}
		return img, nil
	}
	return put, out, nil
}

// float16 is a value of 16 bits (IEEE 754, binary16).
func float16(v uint16) float32 {
	sign, exp, frac := float32(1), int(v>>10&31), float32(v&1023)
	if v>>15 != 0 {
		sign = -1
	}
	switch exp {
	case 0:
		return sign * frac * (1.0 / (1 << 24))
	case 31:
		return float32(math.Inf(int(sign))) // or no number: refused alike
	}
	return sign * float32(math.Ldexp(float64(1+frac/1024), exp-15))
}

// packBits decompresses as TIFF 6.0, section 9, says.
type packBits struct {
	r      *contextReader
	copies int // bytes that are to be copied
	again  int // times that last is to be repeated
	last   byte
}

func (p *packBits) Read(b []byte) (n int, err error) {
	for n < len(b) {
		switch {
		case p.copies > 0:
			if b[n], err = p.r.ReadByte(); err != nil {
				return n, err
			}
			p.copies--
			n++
		case p.again > 0:
			b[n] = p.last
			p.again--
			n++
		default:
			head, err := p.r.ReadByte()
			if err != nil {
				return n, err
			}
			switch h := int(int8(head)); {
			case h >= 0:
				p.copies = h + 1
			case h > -128:
				p.again = 1 - h
				if p.last, err = p.r.ReadByte(); err != nil {
					return n, err
				}
			}
		}
	}
	return n, nil
}
