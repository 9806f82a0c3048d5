package data

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"
)

// furthest is the largest difference of two pictures' values, where they are seen.
func furthest(t *testing.T, want, got image.Image) (most int) {
	t.Helper()
	a, b := imaging.Clone(want), imaging.Clone(to8(got))
	require.Equal(t, a.Rect, b.Rect)
	for i := range a.Pix {
		if i%4 < 3 && a.Pix[i|3] == 0 && b.Pix[i|3] == 0 {
			continue
		}
		most = max(most, int(a.Pix[i])-int(b.Pix[i]), int(b.Pix[i])-int(a.Pix[i]))
	}
	return most
}

func readPNG(t *testing.T, path string) image.Image {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	img, err := png.Decode(bytes.NewReader(b))
	require.NoError(t, err)
	return img
}

// bench/fixtures/tiffs.py wrote the files, and the PNG with what they show.
func TestEveryVarietyOfTIFFIsDecodedRight(t *testing.T) {
	files, err := filepath.Glob("testdata/tiff/*.tif")
	require.NoError(t, err)
	require.Len(t, files, 36)
	for _, path := range files {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		img, err := decodeAll(t, b)
		require.NoError(t, err, path)
		within := 1
		if strings.Contains(path, "jpeg") {
			within = 8 // it is lossy
		}
		require.LessOrEqual(t, furthest(t, readPNG(t, path+".png"), img), within, path)
	}
}

// tiffOf writes a TIFF whose parts are the given ones; fields are shorts, unless they do not fit.
func tiffOf(w, h int, fields map[uint16][]int, parts ...[]byte) []byte {
	le := binary.LittleEndian
	b := []byte("II*\x00\x00\x00\x00\x00")
	offsets, counts := uint16(tagStripOffsets), uint16(tagStripByteCounts)
	if fields[tagTileWidth] != nil {
		offsets, counts = tagTileOffsets, tagTileByteCounts
	}
	all := map[uint16][]int{tagWidth: {w}, tagHeight: {h}, tagCompression: {1}, tagPhotometric: {1}, tagBits: {8}}
	for _, p := range parts {
		all[offsets], all[counts] = append(all[offsets], len(b)), append(all[counts], len(p))
		b = append(b, p...)
	}
	maps.Copy(all, fields)
	values := map[uint16]int{}
	for tag, v := range all {
		values[tag] = len(b)
		for _, x := range v {
			b = le.AppendUint32(b, uint32(x))
		}
	}
	le.PutUint32(b[4:], uint32(len(b)))
	b = le.AppendUint16(b, uint16(len(all)))
	for _, tag := range slices.Sorted(maps.Keys(all)) {
		b = le.AppendUint16(b, tag)
		b = le.AppendUint16(b, 4)
		b = le.AppendUint32(b, uint32(len(all[tag])))
		if len(all[tag]) == 1 {
			b = le.AppendUint32(b, uint32(all[tag][0]))
		} else {
			b = le.AppendUint32(b, uint32(values[tag]))
		}
	}
	return b
}

func TestTagsOfTIFFChangeWhatThePixelsMean(t *testing.T) {
	at := func(b []byte) color.NRGBA {
		img, err := decodeAll(t, b)
		require.NoError(t, err)
		return color.NRGBAModel.Convert(img.At(img.Bounds().Min.X, img.Bounds().Min.Y)).(color.NRGBA)
	}
	gray := func(v uint8) color.NRGBA { return color.NRGBA{v, v, v, 255} }
	ones := bytes.Repeat([]byte{1}, 256)
	require.Equal(t, gray(1), at(tiffOf(16, 16, nil, ones)))
	require.Equal(t, gray(0x80), at(tiffOf(16, 16, map[uint16][]int{tagFillOrder: {2}}, ones)))
	// Group 4: every row like the imaginary white one, a 1 each; then the end of the block.
	fax := []byte{0xff, 0xff, 0x00, 0x10, 0x01}
	fields := map[uint16][]int{tagBits: {1}, tagCompression: {4}, tagPhotometric: {0}}
	require.Equal(t, gray(255), at(tiffOf(16, 16, fields, fax)), "white is zero")
	fields[tagPhotometric] = []int{1}
	require.Equal(t, gray(0), at(tiffOf(16, 16, fields, fax)), "black is zero, which fax codes call white")
	fields[tagFillOrder] = []int{2}
	require.Equal(t, gray(0), at(tiffOf(16, 16, fields, []byte{0xff, 0xff, 0x00, 0x08, 0x80})))
	plane := func(v byte) []byte { return bytes.Repeat([]byte{v}, 256) }
	require.Equal(t, color.NRGBA{200, 100, 50, 255}, at(tiffOf(16, 5, map[uint16][]int{
		tagPhotometric: {2}, tagSamples: {3}, tagBits: {8, 8, 8}, tagPlanar: {2}, tagTileWidth: {16}, tagTileHeight: {16},
	}, plane(200), plane(100), plane(50))))
	require.Equal(t, color.NRGBA{199, 100, 50, 128}, at(tiffOf(1, 1, map[uint16][]int{
		tagPhotometric: {2}, tagSamples: {4}, tagBits: {8, 8, 8, 8}, tagExtraSamples: {1},
	}, []byte{100, 50, 25, 128})), "premultiplied")
}

func TestUnreadVarietiesAreNotCalledDamaged(t *testing.T) {
	rgb := map[uint16][]int{tagPhotometric: {2}, tagSamples: {3}, tagBits: {8, 8, 8}}
	with := func(more map[uint16][]int) []byte {
		f := maps.Clone(rgb)
		maps.Copy(f, more)
		return tiffOf(16, 16, f, make([]byte, 4096))
	}
	jpg := encode(t, ".jpg", picture(16, 16))
	sof := bytes.Index(jpg, []byte{0xff, 0xc0})
	patched := func(at int, v byte) []byte {
		b := bytes.Clone(jpg)
		b[sof+at] = v
		return b
	}
	for want, b := range map[string][]byte{
		"TIFF (compression LZMA)":                                 with(map[uint16][]int{tagCompression: {34925}}),
		"TIFF (compression WebP)":                                 with(map[uint16][]int{tagCompression: {50001}}),
		"TIFF (compression 777)":                                  with(map[uint16][]int{tagCompression: {777}}),
		"TIFF (compression old-style JPEG)":                       with(map[uint16][]int{tagCompression: {6}}),
		"TIFF (L*a*b* colours)":                                   with(map[uint16][]int{tagPhotometric: {8}}),
		"TIFF (YCbCr colours without JPEG compression)":           with(map[uint16][]int{tagPhotometric: {6}}),
		"TIFF (channels of different depths)":                     with(map[uint16][]int{tagBits: {5, 6, 5}}),
		"TIFF (values with a sign, or complex ones)":              with(map[uint16][]int{tagSampleFormat: {2, 2, 2}}),
		"TIFF (32 bits per channel)":                              with(map[uint16][]int{tagBits: {32, 32, 32}}),
		"TIFF (predictor 3 with 8 bits per channel)":              with(map[uint16][]int{tagCompression: {5}, tagPredictor: {3}}),
		"TIFF (two-dimensional fax compression of group 3)":       tiffOf(16, 16, map[uint16][]int{tagBits: {1}, tagCompression: {3}, tagT4Options: {1}}, make([]byte, 64)),
		"TIFF (fax compression of group 3 without ends of lines)": tiffOf(16, 16, map[uint16][]int{tagBits: {1}, tagCompression: {3}}, bytes.Repeat([]byte{0xaa}, 64)),
		"JPEG (the sampling factors 3x1 1x1 1x1)":                 patched(11, 0x31),
		"JPEG (12 bits per channel)":                              patched(4, 12),
		"JPEG (lossless)":                                         patched(1, 0xc3),
		"JPEG (arithmetic coding)":                                patched(1, 0xc9),
		"kind that cannot be read (HEIC)":                         []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"),
		"kind that cannot be read (AVIF)":                         []byte("\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1avif"),
		"kind that cannot be read (ICO)":                          []byte("\x00\x00\x01\x00\x01\x00"),
		"kind that cannot be read (JPEG XL)":                      []byte("\xff\x0a\x00\x00"),
	} {
		_, err := decodeAll(t, b)
		require.Error(t, err, want)
		said := why(err).String()
		require.Contains(t, said, want)
		require.Contains(t, said, "cannot be read")
		require.Contains(t, said, "save it as PNG")
	}
	dir := t.TempDir()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "a.png", Method: 12, CompressedSize64: 4, UncompressedSize64: 100}) // bzip2
	require.NoError(t, err)
	_, err = w.Write([]byte("BZh9"))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	write(t, filepath.Join(dir, "a.zip"), b.Bytes())
	_, err = Scan(t.Context(), filepath.Join(dir, "a.zip"), nil)
	require.ErrorContains(t, err, "packs it in a way that cannot be read")
}

// scansOf writes a progressive gray JPEG of side × side pixels with n scans that change nothing, as they may follow one
// another.
func scansOf(side, n int) []byte {
	var code []byte
	bits := 0
	put := func(v, width int) {
		for i := width - 1; i >= 0; i-- {
			if bits%8 == 0 {
				code = append(code, 0)
			}
			code[bits/8] |= byte(v>>i&1) << (7 - bits%8)
			bits++
		}
	}
	for left := (side + 7) / 8 * ((side + 7) / 8); left > 0; { // runs of blocks without coefficients
		run := max(min(left, 32767), 16384)
		put(run-16384, 15) // the code 0, then 14 bits
		left -= run
	}
	for bits%8 != 0 {
		put(1, 1)
	}
	code = bytes.ReplaceAll(code, []byte{0xff}, []byte{0xff, 0})
	segment := func(kind byte, body ...byte) []byte {
		return append([]byte{0xff, kind, byte((len(body) + 2) >> 8), byte(len(body) + 2)}, body...)
	}
	b := append([]byte{0xff, 0xd8}, segment(0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...)...)
	b = append(b, segment(0xc2, 8, byte(side>>8), byte(side), byte(side>>8), byte(side), 1, 1, 0x11, 0)...)
	b = append(b, segment(0xc4, append(append([]byte{0x10, 1}, make([]byte, 15)...), 0xe0)...)...)
	scan := append(segment(0xda, 1, 1, 0, 1, 63, 0), code...)
	return append(append(b, bytes.Repeat(scan, n)...), 0xff, 0xd9)
}

func TestScansOfAJPEGAreBounded(t *testing.T) {
	img, err := decodeAll(t, scansOf(1024, 20))
	require.NoError(t, err)
	require.Equal(t, color.Gray{128}, img.At(0, 0))
	for _, b := range [][]byte{scansOf(1024, maxScans+1), scansOf(8000, 1000)} {
		_, err := readInfo(b, defaultLimits)
		require.ErrorContains(t, err, "too many scans")
	}
	// A picture that is not progressive has a scan for each component at most.
	once := bytes.Replace(scansOf(1024, 2), []byte{0xff, 0xc2}, []byte{0xff, 0xc0}, 1)
	_, err = readInfo(once, defaultLimits)
	require.ErrorContains(t, err, "too many scans")
	_, err = readInfo(bytes.Replace(scansOf(1024, 1), []byte{0xff, 0xc2}, []byte{0xff, 0xc0}, 1), defaultLimits)
	require.NoError(t, err)
	// The parts of a TIFF share the bound.
	part := scansOf(1024, 2)
	b := tiffOf(2048, 2048, map[uint16][]int{tagCompression: {7}, tagTileWidth: {1024}, tagTileHeight: {1024}}, part, part, part, part)
	p, err := readTIFFPicture(b)
	require.NoError(t, err)
	const each = 2 * 128 * 128
	for work, want := range map[int]bool{4 * each: true, 4*each - 1: false, each: false} {
		d := tiffDecoder{tiffPicture: p, b: b, work: work}
		_, err := d.decode(t.Context())
		require.Equal(t, want, err == nil, "%v", err)
		if !want {
			require.ErrorContains(t, err, "too many scans")
		}
	}
}

func TestCoefficientsCountAsMemory(t *testing.T) {
	in, err := readInfo(scansOf(8000, 1), defaultLimits)
	require.NoError(t, err)
	require.GreaterOrEqual(t, in.cost(), int64(8000*8000*(4+1+4)), "coefficients of 4 bytes, the samples, and pixels of 4 bytes")
	require.Greater(t, 2*in.cost(), int64(memoryBudget), "two of them do not fit at the same time")
}

// endsAfter is a context that is cancelled when it has been asked n times.
type endsAfter struct {
	context.Context
	n atomic.Int64
}

func (c *endsAfter) Err() error {
	if c.n.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

func TestCancellingReachesEveryDecoder(t *testing.T) {
	img := noise(400, 300, 3)
	files := map[string][]byte{"progressive": scansOf(1024, 60)}
	for _, ext := range []string{".png", ".jpg", ".gif", ".bmp", ".tiff"} {
		files[ext] = encode(t, ext, img)
	}
	files[".webp"] = encode(t, ".webp", picture(400, 300))
	for _, name := range []string{"planar-tiles-lzw.tif", "jpeg-rgb.tif", "bits-4.tif"} {
		b, err := os.ReadFile("testdata/tiff/" + name)
		require.NoError(t, err)
		files[name] = b
	}
	for name, b := range files {
		in, err := readInfo(b, defaultLimits)
		require.NoError(t, err, name)
		ctx := &endsAfter{Context: t.Context()}
		ctx.n.Store(2)
		_, err = decodePixels(ctx, b, in)
		require.Error(t, err, name)
		require.Less(t, ctx.n.Load(), int64(0), name)
	}
}

func TestWhatCannotHoldItsPixelsIsRefusedBeforeTheyGetMemory(t *testing.T) {
	b := encode(t, ".png", picture(4, 4))
	binary.BigEndian.PutUint32(b[16:], 8000)
	binary.BigEndian.PutUint32(b[20:], 8000)
	binary.BigEndian.PutUint32(b[29:], crcIEEE(b[12:29]))
	_, err := readInfo(b, defaultLimits)
	require.Contains(t, why(err).String(), "ends too early")
	b = encode(t, ".bmp", picture(4, 4))
	binary.LittleEndian.PutUint32(b[18:], 8000)
	binary.LittleEndian.PutUint32(b[22:], 8000)
	_, err = readInfo(b, defaultLimits)
	require.Contains(t, why(err).String(), "ends too early")
	_, err = decodeAll(t, tiffOf(8000, 8000, nil, []byte{1, 2, 3}))
	require.Contains(t, why(err).String(), "ends too early")
	var blank bytes.Buffer // as small as it gets
	require.NoError(t, png.Encode(&blank, image.NewGray(image.Rect(0, 0, 4000, 4000))))
	_, err = readInfo(blank.Bytes(), defaultLimits)
	require.NoError(t, err)
}

func TestChannelsAreToldByContent(t *testing.T) {
	opaque := picture(9, 7)
	clear := picture(9, 7)
	clear.Pix[3] = 254
	palette := color.Palette{color.White, color.Transparent, color.NRGBA{R: 200, A: 255}}
	unused := image.NewPaletted(image.Rect(0, 0, 4, 4), palette)
	used := image.NewPaletted(image.Rect(0, 0, 4, 4), palette)
	used.Pix[5] = 1
	rgba := func(m *image.NRGBA) []byte { return pngOf(t, 6, m) }
	grayAlpha := func(m *image.NRGBA) []byte { return pngOf(t, 4, m) }
	wide, err := os.ReadFile("testdata/tiff/alpha.tif")
	require.NoError(t, err)
	extra, err := os.ReadFile("testdata/tiff/unspecified-extra.tif")
	require.NoError(t, err)
	for name, x := range map[string]struct {
		b    []byte
		want int
	}{
		"RGBA that is opaque":            {rgba(opaque), 3},
		"RGBA":                           {rgba(clear), 4},
		"gray and alpha that is opaque":  {grayAlpha(opaque), 1},
		"gray and alpha":                 {grayAlpha(clear), 4},
		"palette whose hole is not used": {encode(t, ".png", unused), 3},
		"palette":                        {encode(t, ".png", used), 4},
		"GIF whose hole is not used":     {encode(t, ".gif", unused), 3},
		"GIF":                            {encode(t, ".gif", used), 4},
		"BMP":                            {encode(t, ".bmp", opaque), 3},
		"WebP that is opaque":            {encode(t, ".webp", opaque), 3},
		"WebP":                           {encode(t, ".webp", clear), 4},
		"TIFF with transparency":         {wide, 4},
		"TIFF with a channel of no name": {extra, 3},
		"TIFF that is opaque":            {encode(t, ".tiff", opaque), 3},
		"gray TIFF":                      {tiffOf(4, 4, nil, make([]byte, 16)), 1},
		"gray stored as colour":          {tiffOf(1, 1, map[uint16][]int{tagPhotometric: {2}, tagSamples: {3}, tagBits: {8, 8, 8}}, make([]byte, 3)), 3},
	} {
		in, err := readInfo(x.b, defaultLimits)
		require.NoError(t, err, name)
		img, err := decodePixels(t.Context(), x.b, in)
		require.NoError(t, err, name)
		require.Equal(t, x.want, in.shown(img), name)
	}
}

// pngOf writes a PNG of that colour type, 4 (of the red channel) or 6, also where a smaller one would do.
func pngOf(t *testing.T, colour byte, m *image.NRGBA) []byte {
	t.Helper()
	w, h := m.Rect.Dx(), m.Rect.Dy()
	var rows []byte
	for y := range h {
		rows = append(rows, 0)
		for x := range w {
			p := m.Pix[y*m.Stride+4*x:][:4]
			if colour == 4 {
				rows = append(rows, p[0], p[3])
			} else {
				rows = append(rows, p...)
			}
		}
	}
	chunk := func(kind string, body []byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
		b = append(append(b, kind...), body...)
		return binary.BigEndian.AppendUint32(b, crcIEEE(b[4:]))
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(w))
	head = append(binary.BigEndian.AppendUint32(head, uint32(h)), 8, colour, 0, 0, 0)
	return slices.Concat([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", head), chunk("IDAT", deflated(t, rows)), chunk("IEND", nil))
}

func deflated(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, err := z.Write(b)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return out.Bytes()
}

// The pictures of JPEGs that libjpeg enlarges the chroma of, in all small sizes, as Pillow shows them (bench/fixtures/pictures.py).
func TestChromaIsEnlargedAsInLibjpeg(t *testing.T) {
	files, err := filepath.Glob("testdata/pictures/chroma/*.jpg")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		img, err := decodeAll(t, b)
		require.NoError(t, err, path)
		require.LessOrEqual(t, furthest(t, readPNG(t, path+".png"), img), 2+corpusOneMore, path)
	}
	// Repeating the samples would not do.
	b, err := os.ReadFile("testdata/pictures/chroma/420-17x9.jpg")
	require.NoError(t, err)
	repeated, err := jpeg.Decode(bytes.NewReader(b))
	require.NoError(t, err)
	require.Greater(t, furthest(t, readPNG(t, "testdata/pictures/chroma/420-17x9.jpg.png"), repeated), 20)
}

func TestCompressedIDXIsBounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "train-images-idx3-ubyte.gz")
	head := func(n, side uint32) []byte {
		b := binary.BigEndian.AppendUint32(nil, idxImages)
		for _, v := range []uint32{n, side, side} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return b
	}
	for _, x := range []struct {
		b    []byte
		want string
	}{
		{gz(t, head(2_000_000, 28)), "unpacks to 1495 MiB"},
		{gz(t, head(1_000_000, 28)), "cut off or damaged: its header promises 1000000 pictures and it has 0"}, // no file of its size holds them
		{gz(t, head(2_000_001, 1)), "more than the limit of 2000000"},
		{gz(t, append(head(900, 1024), noise(600, 600, 1).Pix...)), "to 900 MiB: it is refused as a zip bomb"},
		{gz(t, append(head(3, 4), make([]byte, 40)...)), "promises 3 pictures and it has 2"},
	} {
		write(t, path, x.b)
		_, err := Scan(t.Context(), path, nil)
		require.ErrorContains(t, err, x.want)
	}
	write(t, path, gz(t, append(head(3, 400), noise(400, 300, 1).Pix...)))
	x, err := openIDX(path)
	require.NoError(t, err)
	defer x.Close()
	ctx := &endsAfter{Context: t.Context()}
	ctx.n.Store(2)
	require.ErrorIs(t, x.load(ctx), context.Canceled)
	require.NoError(t, x.load(t.Context()), "the next one begins anew")
	img, err := x.image(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, noise(400, 300, 1).Pix[2*160000:], img.Pix)
}

func TestMemberOfAZipIsReadNoFurtherThanItSays(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.zip")
	content := deflated(t, make([]byte, 64<<20))[2:] // without the head of zlib
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateRaw(&zip.FileHeader{
		Name: "a.png", Method: zip.Deflate, CompressedSize64: uint64(len(content)), UncompressedSize64: 100,
	})
	require.NoError(t, err)
	_, err = w.Write(content)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	write(t, path, b.Bytes())
	s, err := OpenSource(path)
	require.NoError(t, err)
	defer s.Close()
	got, err := s.read(t.Context(), "a.png", 101)
	require.ErrorIs(t, err, zip.ErrFormat)
	require.LessOrEqual(t, len(got), 101)
}

// A decoder that does not read for long cannot be stopped. Its caller is, and the memory counts until it has ended.
func TestCancellingDoesNotWaitForADecoder(t *testing.T) {
	i := slices.IndexFunc(formats, func(f format) bool { return f.name == "bmp" })
	real := formats[i]
	defer func() { formats[i] = real }()
	begun, end := make(chan struct{}), make(chan struct{})
	formats[i].pixels = func(context.Context, []byte, info) (image.Image, error) {
		close(begun)
		<-end
		return nil, errSizes
	}
	dir := t.TempDir()
	writeImage(t, filepath.Join(dir, "a.bmp"), picture(4, 4))
	s, err := OpenSource(dir)
	require.NoError(t, err)
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	_, err = s.Image(ctx, "a.bmp")
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, s.mem.TryAcquire(memoryBudget), "it still has its memory")
	close(end)
	require.NoError(t, s.mem.Acquire(t.Context(), memoryBudget))
}

func TestJPEGWithoutItsEndMarker(t *testing.T) {
	b := encode(t, ".jpg", noise(64, 48, 5))
	whole, err := decodeAll(t, b)
	require.NoError(t, err)
	img, err := decodeAll(t, b[:len(b)-2])
	require.NoError(t, err, "all of the picture is there")
	require.Zero(t, furthest(t, whole, img))
	for _, n := range []int{len(b) / 2, len(b) - 40} {
		_, err = decodeAll(t, b[:n])
		require.Error(t, err)
		require.Contains(t, why(err).String(), "cut off")
	}
}

func TestFilesCountAsMemory(t *testing.T) {
	dir := t.TempDir()
	writeImage(t, filepath.Join(dir, "a.png"), noise(64, 48, 5))
	s, err := OpenSource(dir)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.with(t.Context(), "a.png", func(_ image.Image, _ info, file []byte) error {
		require.True(t, s.encoded.TryAcquire(encodedBudget-int64(len(file))-1))
		require.False(t, s.encoded.TryAcquire(1))
		s.encoded.Release(encodedBudget - int64(len(file)) - 1)
		return nil
	}))
	require.True(t, s.encoded.TryAcquire(encodedBudget), "it is given back")
}

func TestFileThatGrowsIsNotTakenForDamaged(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.png"), make([]byte, 500))
	s, err := OpenSource(dir)
	require.NoError(t, err)
	defer s.Close()
	_, err = s.read(t.Context(), "a.png", 401) // as it was 400 bytes long before
	require.ErrorContains(t, err, "grew while it was read")
	b, err := s.read(t.Context(), "a.png", 501)
	require.NoError(t, err)
	require.Len(t, b, 500)
}
