package picture

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/draw"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/durable"
)

// noise is a picture of random pixels of a kind: 1 gray, 3 RGB, 4 RGBA.
func noise(t testing.TB, c, w, h int, seed uint64) image.Image {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, c*w*h)
	for i := range x {
		x[i] = r.Float32()*2.4 - 1.2
	}
	img, err := FromCHW(x, c, h, w)
	require.NoError(t, err)
	return img
}

// same requires that two pictures show the same pixels.
func same(t testing.TB, want, got image.Image, msg ...any) {
	t.Helper()
	require.Equal(t, want.Bounds().Size(), got.Bounds().Size(), msg...)
	r := image.Rectangle{Max: want.Bounds().Size()}
	a, b := image.NewNRGBA(r), image.NewNRGBA(r)
	draw.Draw(a, r, want, want.Bounds().Min, draw.Src)
	draw.Draw(b, r, got, got.Bounds().Min, draw.Src)
	if !bytes.Equal(a.Pix, b.Pix) {
		require.Fail(t, "the pixels differ", msg...)
	}
}

func TestFromCHW(t *testing.T) {
	// Channels, clamping and rounding. numpy.round(255*(x/2+0.5)) of these is written out; 0.5·255 = 127.5 → 128 (even).
	x := []float32{
		-1, 1, 0, -3, 3, 0.25, // red
		1, -1, -1, -1, -1, -1, // green
		0.00392157, -1, 0, 0, 0, 0, // blue
	}
	img, err := FromCHW(x, 3, 2, 3)
	require.NoError(t, err)
	m := img.(*image.RGBA)
	require.Equal(t, image.Rect(0, 0, 3, 2), m.Rect)
	require.Equal(t, []uint8{
		0, 255, 128, 255, 255, 0, 0, 255, 128, 0, 128, 255,
		0, 0, 128, 255, 255, 0, 128, 255, 159, 0, 128, 255,
	}, m.Pix)
	for _, c := range []int{1, 3, 4} {
		require.IsType(t, map[int]image.Image{1: &image.Gray{}, 3: &image.RGBA{}, 4: &image.NRGBA{}}[c], noise(t, c, 2, 2, 1))
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		_, err = FromCHW([]float32{0, 0, bad, 0}, 1, 2, 2)
		require.ErrorContains(t, err, "value 2 is")
	}
	for _, c := range [][4]int{{4, 2, 2, 1}, {3, 1, 2, 2}, {0, 1, 0, 5}, {4, 1, -2, -2}, {0, 1, 1 << 40, 1 << 40}} {
		_, err = FromCHW(make([]float32, c[0]), c[1], c[2], c[3])
		require.Error(t, err, c)
	}
}

func TestCHWRoundTrip(t *testing.T) {
	for _, c := range []int{1, 3, 4} {
		img := noise(t, c, 5, 3, 9)
		x := make([]float32, c*15)
		require.NoError(t, ToCHW(x, img, c))
		back, err := FromCHW(x, c, 3, 5)
		require.NoError(t, err)
		require.Equal(t, img, back)
		require.Error(t, ToCHW(x[1:], img, c))
	}
	sub := noise(t, 3, 8, 8, 2).(*image.RGBA).SubImage(image.Rect(3, 4, 6, 5))
	x := make([]float32, 9)
	require.NoError(t, ToCHW(x, sub, 3))
	back, err := FromCHW(x, 3, 1, 3)
	require.NoError(t, err)
	same(t, sub, back)
}

func TestScale(t *testing.T) {
	for _, img := range []image.Image{
		noise(t, 1, 5, 3, 1), noise(t, 3, 5, 3, 1), noise(t, 4, 5, 3, 1),
		noise(t, 3, 9, 9, 1).(*image.RGBA).SubImage(image.Rect(2, 3, 7, 6)),
		&image.NRGBA64{Pix: make([]uint8, 5*3*8), Stride: 5 * 8, Rect: image.Rect(0, 0, 5, 3)},
	} {
		big, err := Scale(img, 3)
		require.NoError(t, err)
		require.Equal(t, image.Rect(0, 0, 15, 9), big.Bounds())
		b := img.Bounds()
		for y := range 9 {
			for x := range 15 {
				require.Equal(t, color.NRGBAModel.Convert(img.At(b.Min.X+x/3, b.Min.Y+y/3)), color.NRGBAModel.Convert(big.At(x, y)))
			}
		}
	}
	img := noise(t, 1, 5, 3, 1)
	one, err := Scale(img, 1)
	require.NoError(t, err)
	require.Same(t, img, one)
	for _, n := range []int{1 << 14, 1 << 40, math.MaxInt} {
		_, err = Scale(img, n)
		require.ErrorContains(t, err, "cannot be enlarged", n)
	}
}

var meta = Meta{
	Version: "0.1.0", Run: "0007-sprites", Checkpoint: 500, EMA: "0.999", Objective: "v", Schedule: "cosine",
	Sampler: "ddim", Steps: 50, Eta: 0.5, NoClip: true, Seed: math.MaxUint64, Index: 17, Class: "apples", Width: 32, Height: 24,
}

func TestPNGCarriesItsProvenance(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []int{1, 3, 4} {
		p := filepath.Join(dir, "x.png")
		img := noise(t, c, 32, 24, 5)
		require.NoError(t, ReplacePNG(durable.Disk{}, p, img, &meta))
		back, err := Read(p)
		require.NoError(t, err)
		same(t, img, back)
		got, err := ReadMeta(p)
		require.NoError(t, err)
		want := meta
		want.Format, want.Pixels = MetaFormat, Digest(img)
		want.Parameters = "apples\nSteps: 50, Sampler: ddim, Seed: 18446744073709551615, Size: 32x24, Model: 0007-sprites"
		require.Equal(t, want, got)
	}
	es, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, es, 1)

	// Stripped at the source, and afterwards.
	p, q := filepath.Join(dir, "x.png"), filepath.Join(dir, "plain.png")
	img := noise(t, 4, 32, 24, 5)
	require.NoError(t, WritePNG(q, img, nil))
	_, err = ReadMeta(q)
	require.ErrorIs(t, err, ErrNoMeta)
	withMeta, err := os.ReadFile(p)
	require.NoError(t, err)
	plain, err := os.ReadFile(q)
	require.NoError(t, err)
	var stripped bytes.Buffer
	require.NoError(t, StripPNG(&stripped, bytes.NewReader(withMeta)))
	require.Equal(t, plain, stripped.Bytes())
	require.NotContains(t, stripped.String(), "sprites")
}

// TestOnlyOwnPicturesAreReplaced holds that a picture is replaced only if this program wrote it and nobody changed it since.
func TestOnlyOwnPicturesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "x.png")
	a, b := noise(t, 3, 8, 8, 1), noise(t, 3, 8, 8, 2)
	require.NoError(t, WritePNG(p, a, &meta))
	require.ErrorIs(t, WritePNG(p, b, &meta), fs.ErrExist)
	require.NoError(t, ReplacePNG(durable.Disk{}, p, b, &meta))
	got, err := Read(p)
	require.NoError(t, err)
	same(t, b, got)

	var edited, plain bytes.Buffer
	require.NoError(t, EncodePNG(&edited, a, &meta))
	require.NoError(t, EncodePNG(&plain, a, nil))
	painted := bytes.Replace(edited.Bytes(), []byte(Digest(a)), []byte(Digest(b)), 1) // other pixels under the same text
	at := bytes.Index(painted, []byte("iTXt"))
	size := int(binary.BigEndian.Uint32(painted[at-4:]))
	binary.BigEndian.PutUint32(painted[at+4+size:], crc32.ChecksumIEEE(painted[at:at+4+size]))
	for name, content := range map[string][]byte{
		"text": []byte("thesis"), "empty": {}, "another program's": plain.Bytes(), "edited": painted, "cut": edited.Bytes()[:200],
	} {
		require.NoError(t, os.WriteFile(p, content, 0o600))
		require.ErrorIs(t, ReplacePNG(durable.Disk{}, p, a, &meta), fs.ErrExist, name)
		kept, err := os.ReadFile(p)
		require.NoError(t, err)
		require.Equal(t, content, kept[:len(content):len(content)], name)
		require.Len(t, kept, len(content))
	}
	require.NoError(t, os.Remove(p))
	require.NoError(t, os.Mkdir(p, 0o700))
	require.ErrorIs(t, ReplacePNG(durable.Disk{}, p, a, &meta), fs.ErrExist)
}

func TestParameters(t *testing.T) {
	for _, c := range []struct{ class, run, kind, want string }{
		{"", "a", "tEXt", "Steps: 50, Sampler: ddim, Seed: 1, Size: 8x4, Model: a"},
		{"größe", "a, b: \"c\"", "tEXt", "größe\nSteps: 50, Sampler: ddim, Seed: 1, Size: 8x4, Model: \"a, b: \\\"c\\\"\""},
		{"苹果\nSteps: 1", "a", "iTXt", "苹果 Steps: 1\nSteps: 50, Sampler: ddim, Seed: 1, Size: 8x4, Model: a"},
	} {
		p := filepath.Join(t.TempDir(), "p.png")
		m := Meta{Class: c.class, Run: c.run, Steps: 50, Sampler: "ddim", Seed: 1}
		require.NoError(t, WritePNG(p, noise(t, 1, 8, 4, 1), &m))
		got, err := ReadMeta(p)
		require.NoError(t, err)
		require.Equal(t, c.want, got.Parameters)
		require.Equal(t, c.class, got.Class)
		raw, err := os.ReadFile(p)
		require.NoError(t, err)
		require.Contains(t, string(raw), c.kind+"parameters\x00")
	}
}

func TestWritePNGKeepsTheFormerFile(t *testing.T) {
	p := filepath.Join(t.TempDir(), "x.png")
	img := noise(t, 3, 4, 4, 1)
	require.NoError(t, WritePNG(p, img, nil))
	require.Error(t, WritePNG(p, image.NewGray(image.Rectangle{}), nil), "an empty picture is no PNG")
	bad := meta
	bad.Eta = math.NaN()
	require.Error(t, WritePNG(p, img, &bad))
	back, err := Read(p)
	require.NoError(t, err)
	same(t, img, back)
	require.Error(t, WritePNG(filepath.Join(p, "y.png"), img, nil), "a file is no folder")
}

// pngOf builds a PNG of the chunks given behind IHDR.
func pngOf(chunks ...[]byte) []byte {
	b := appendChunk([]byte(pngSignature), "IHDR", []byte{0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0})
	for _, c := range chunks {
		b = append(b, c...)
	}
	return appendChunk(b, "IEND", nil)
}

func chunk(kind, data string) []byte { return appendChunk(nil, kind, []byte(data)) }

func TestReadTextOfOthers(t *testing.T) {
	// testdata/pillow.png is made by bench/fixtures/picture.py with Pillow.
	f, err := os.Open("testdata/pillow.png")
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	texts, err := ReadText(f)
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"plain": "café", "packed": strings.Repeat("long ", 100), "wide": "猫", "wide packed": strings.Repeat("猫 ", 100),
	}, texts)
}

func TestReadTextRefuses(t *testing.T) {
	broken := chunk("tEXt", "parameters\x00abc")
	broken[len(broken)-1] ^= 1
	many := bytes.Repeat(chunk("tEXt", "a\x00b"), maxTexts+1)
	var bomb bytes.Buffer
	z := zlib.NewWriter(&bomb)
	for range 2 * maxText >> 16 {
		_, err := z.Write(make([]byte, 1<<16))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	huge := binary.BigEndian.AppendUint32(nil, 1<<31)
	claims := append(binary.BigEndian.AppendUint32(nil, maxText+1), "tEXt"...)
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":           {nil, "cut short"},
		"other":           {[]byte("GIF89a and so on"), "not a PNG"},
		"only signature":  {[]byte(pngSignature), "cut short"},
		"no IHDR":         {append([]byte(pngSignature), chunk("IEND", "")...), "first chunk"},
		"no end":          {pngOf()[:33], "cut short"},
		"cut in chunk":    {pngOf(chunk("IDAT", "xxxxxxxxxxxxxxxxxxxxx"))[:45], "cut short"},
		"cut in text":     {pngOf(chunk("tEXt", "a\x00bbbbbbbbbbbbbbbbbbbb"))[:45], "cut short"},
		"huge chunk":      {append(pngOf()[:33], append(huge, "IDAT"...)...), "claims 2147483648"},
		"huge text":       {append(pngOf()[:33], claims...), "more text"},
		"checksum":        {pngOf(broken), "checksum is wrong"},
		"many":            {pngOf(many), "more text"},
		"no keyword":      {pngOf(chunk("tEXt", "abc")), "no keyword"},
		"empty keyword":   {pngOf(chunk("tEXt", "\x00abc")), "no keyword"},
		"long keyword":    {pngOf(chunk("tEXt", strings.Repeat("k", 80)+"\x00abc")), "no keyword"},
		"compression":     {pngOf(chunk("zTXt", "a\x00\x01abc")), "unknown compression"},
		"no zlib":         {pngOf(chunk("zTXt", "a\x00\x00abc")), "zlib"},
		"bomb":            {pngOf(chunk("zTXt", "a\x00\x00"+bomb.String())), "too large"},
		"international":   {pngOf(chunk("iTXt", "a\x00\x00")), "unknown compression"},
		"international 2": {pngOf(chunk("iTXt", "a\x00\x00\x00de\x00")), "ends in"},
		"not UTF-8":       {pngOf(chunk("iTXt", "a\x00\x00\x00\x00\x00\xff")), "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadText(bytes.NewReader(c.b))
			require.ErrorContains(t, err, c.want)
		})
	}
	for js, want := range map[string]string{
		`{"format":2}`:                "update Unnoise",
		`{"steps":"many"}`:            "broken",
		strings.Repeat("[", 1000_000): "broken",
		`{"index":1e99}`:              "broken",
	} {
		_, err := DecodeMeta(bytes.NewReader(pngOf(appendChunk(nil, "iTXt", international("unnoise", js)))))
		require.ErrorContains(t, err, want)
	}
}

func TestReadRefusesHugePictures(t *testing.T) {
	b := appendChunk([]byte(pngSignature), "IHDR", []byte{0x7f, 0xff, 0xff, 0, 0, 0, 0xff, 0, 8, 6, 0, 0, 0})
	p := filepath.Join(t.TempDir(), "huge.png")
	require.NoError(t, os.WriteFile(p, appendChunk(b, "IEND", nil), 0o600))
	_, err := Read(p)
	require.Error(t, err)
	b = appendChunk([]byte(pngSignature), "IHDR", []byte{0, 1, 0, 0, 0, 1, 0, 0, 8, 0, 0, 0, 0})
	require.NoError(t, os.WriteFile(p, appendChunk(b, "IEND", nil), 0o600))
	_, err = Read(p)
	require.ErrorContains(t, err, "claims 65536 × 65536 pixels")
}

func FuzzPNGText(f *testing.F) {
	var b bytes.Buffer
	require.NoError(f, EncodePNG(&b, noise(f, 3, 3, 3, 1), &meta))
	f.Add(b.Bytes())
	f.Add(pngOf(chunk("tEXt", "a\x00b"), chunk("iTXt", "a\x00\x00\x00de\x00b\x00c")))
	if p, err := os.ReadFile("testdata/pillow.png"); err == nil {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, metaErr := DecodeMeta(bytes.NewReader(b))
		_, err := ReadText(bytes.NewReader(b))
		if err != nil {
			require.Error(t, metaErr)
		}
		var out, again bytes.Buffer
		if StripPNG(&out, bytes.NewReader(b)) != nil {
			require.Error(t, err)
			return
		}
		left, err := ReadText(bytes.NewReader(out.Bytes()))
		require.NoError(t, err)
		require.Empty(t, left)
		require.NoError(t, StripPNG(&again, bytes.NewReader(out.Bytes())))
		require.Equal(t, out.Bytes(), again.Bytes())
	})
}

func TestGrid(t *testing.T) {
	ctx := context.Background()
	var imgs []image.Image
	for i := range 5 {
		imgs = append(imgs, noise(t, []int{1, 3, 3, 3, 3}[i], 4, 3, uint64(i)))
	}
	g, err := Grid(ctx, FramesOf(imgs), GridOptions{Spacing: 2, Scale: 3, Background: color.Black})
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, 2+3*(12+2), 2+2*(9+2)), g.Rect)
	covered := map[image.Point]bool{}
	for i, img := range imgs {
		big, err := Scale(img, 3)
		require.NoError(t, err)
		at := image.Pt(2+i%3*14, 2+i/3*11)
		r := image.Rectangle{Min: at, Max: at.Add(image.Pt(12, 9))}
		same(t, big, g.SubImage(r), i)
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				covered[image.Pt(x, y)] = true
			}
		}
	}
	for y := range g.Rect.Max.Y {
		for x := range g.Rect.Max.X {
			if !covered[image.Pt(x, y)] {
				require.Equal(t, color.RGBA{A: 255}, g.RGBAAt(x, y))
			}
		}
	}

	// Labels draw below their own pictures, in ink that shows, and nowhere else.
	o := GridOptions{Columns: 5, Spacing: 1, Scale: 10, Labels: []string{"apple", "", "Ω", "a very long name of a class", "  "}}
	l, err := Grid(ctx, FramesOf(imgs), o)
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, 1+5*41, 1+30+labelHeight+1), l.Rect)
	for i, want := range []bool{true, false, true, true, false} {
		dark := 0
		for y := 31; y < l.Rect.Max.Y; y++ {
			for x := 1 + i*41; x < (i+1)*41; x++ {
				if l.RGBAAt(x, y).R < 100 {
					dark++
				}
			}
		}
		require.Equal(t, want, dark > 5, "%d: %d dark pixels", i, dark)
	}
	for x := 41; x < l.Rect.Max.X; x += 41 { // the gaps stay clean: long labels are cut
		for y := range l.Rect.Max.Y {
			require.Equal(t, color.RGBA{255, 255, 255, 255}, l.RGBAAt(x, y))
		}
	}

	one, err := Grid(ctx, FramesOf(imgs[:1]), GridOptions{})
	require.NoError(t, err)
	same(t, imgs[0], one)
}

func TestGridRefuses(t *testing.T) {
	ctx := context.Background()
	img := []image.Image{noise(t, 1, 4, 4, 1)}
	_, err := Grid(ctx, Frames{}, GridOptions{})
	require.ErrorIs(t, err, errNoFrames)
	_, err = Grid(ctx, FramesOf(img), GridOptions{Labels: []string{"a", "b"}})
	require.ErrorContains(t, err, "2 labels for 1")
	_, err = Grid(ctx, FramesOf(img), GridOptions{Scale: math.MaxInt})
	require.ErrorContains(t, err, "enlarge the pictures less")
	_, err = Grid(ctx, FramesOf(img), GridOptions{Spacing: -1})
	require.ErrorContains(t, err, "spacing -1")
	boom := errors.New("boom")
	_, err = Grid(ctx, Frames{N: 2, At: func(int) (image.Image, error) { return nil, boom }}, GridOptions{})
	require.ErrorIs(t, err, boom)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err = Grid(gone, FramesOf(img), GridOptions{})
	require.ErrorIs(t, err, context.Canceled)
}
