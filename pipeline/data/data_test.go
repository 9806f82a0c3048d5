package data

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/HugoSmits86/nativewebp"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// picture is a smooth, asymmetric test picture: red grows to the right, green downwards, with a blue spot at the top left.
func picture(w, h int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.NRGBA{R: uint8(255 * x / w), G: uint8(255 * y / h), A: 255}
			if 3*x < w && 3*y < h {
				c.B = 255
			}
			img.SetNRGBA(x, y, c)
		}
	}
	return img
}

// noise is a picture like no other.
func noise(w, h int, seed uint64) *image.NRGBA {
	r := rand.New(rand.NewPCG(seed, 1))
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = uint8(r.Uint64())
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return img
}

func encode(t testing.TB, ext string, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch ext {
	case ".png":
		err = png.Encode(&b, img)
	case ".jpg":
		err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 95})
	case ".gif":
		err = gif.Encode(&b, img, nil)
	case ".bmp":
		err = bmp.Encode(&b, img)
	case ".tiff":
		err = tiff.Encode(&b, img, &tiff.Options{Compression: tiff.Deflate, Predictor: true})
	case ".webp":
		err = nativewebp.Encode(&b, img, nil)
	default:
		t.Fatalf("no encoder for %s", ext)
	}
	require.NoError(t, err)
	return b.Bytes()
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, b, 0o644))
}

func writeImage(t testing.TB, path string, img image.Image) {
	t.Helper()
	write(t, path, encode(t, filepath.Ext(path), img))
}

// withOrientation puts an EXIF segment with the orientation tag behind a JPEG's first marker (Exif 2.3, section 4.6.4).
func withOrientation(jpg []byte, orientation uint16) []byte {
	var e bytes.Buffer
	e.WriteString("Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01")
	_ = binary.Write(&e, binary.BigEndian, []uint16{0x0112, 3, 0, 1, orientation, 0})
	e.Write(make([]byte, 4))
	out := append([]byte{}, jpg[:2]...)
	out = append(out, 0xff, 0xe1)
	out = binary.BigEndian.AppendUint16(out, uint16(e.Len()+2))
	out = append(out, e.Bytes()...)
	return append(out, jpg[2:]...)
}

func writeZip(t testing.TB, path string, files map[string][]byte) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		w, err := z.Create(name)
		require.NoError(t, err)
		_, err = w.Write(content)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	write(t, path, b.Bytes())
}

func idxBytes(n, h, w int, pixel func(i, y, x int) byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, idxImages)
	for _, v := range []int{n, h, w} {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	for i := range n {
		for y := range h {
			for x := range w {
				b = append(b, pixel(i, y, x))
			}
		}
	}
	return b
}

func labelBytes(labels ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, idxLabels)
	b = binary.BigEndian.AppendUint32(b, uint32(len(labels)))
	return append(b, labels...)
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return out.Bytes()
}

func reasons(rep *Report) map[string]string {
	out := map[string]string{}
	for _, b := range rep.Bad {
		out[b.Name] = b.Reason
	}
	return out
}

func names(rep *Report) (out []string) {
	for _, it := range rep.Items {
		out = append(out, it.Name)
	}
	return out
}

// meanDifference compares two pictures of the same size, in levels of 0…255.
func meanDifference(t testing.TB, a, b image.Image) float64 {
	t.Helper()
	require.Equal(t, a.Bounds().Size(), b.Bounds().Size())
	sum := 0.0
	size := a.Bounds().Size()
	for y := range size.Y {
		for x := range size.X {
			r1, g1, b1, a1 := a.At(a.Bounds().Min.X+x, a.Bounds().Min.Y+y).RGBA()
			r2, g2, b2, a2 := b.At(b.Bounds().Min.X+x, b.Bounds().Min.Y+y).RGBA()
			for _, d := range [][2]uint32{{r1, r2}, {g1, g2}, {b1, b2}, {a1, a2}} {
				sum += math.Abs(float64(d[0])-float64(d[1])) / 257
			}
		}
	}
	return sum / float64(4*size.X*size.Y)
}

func TestEveryFormatIsDecoded(t *testing.T) {
	dir := t.TempDir()
	img := picture(40, 24)
	gray := image.NewGray(img.Rect)
	draw.Draw(gray, img.Rect, img, image.Point{}, draw.Src)
	gray16 := image.NewGray16(img.Rect)
	draw.Draw(gray16, img.Rect, img, image.Point{}, draw.Src)
	deep := image.NewNRGBA64(img.Rect)
	for y := range 24 {
		for x := range 40 {
			deep.SetNRGBA64(x, y, color.NRGBA64{R: uint16(x * 1600), G: uint16(y * 2700), B: 12345, A: 0xffff})
		}
	}
	seeThrough := picture(40, 24)
	seeThrough.Pix[3] = 0
	palette := image.NewPaletted(img.Rect, color.Palette{color.Black, color.White, color.NRGBA{R: 200, A: 255}})
	clear := image.NewPaletted(img.Rect, color.Palette{color.Transparent, color.White})
	tests := []struct {
		name           string
		img            image.Image
		format         string
		channels, bits int
		within         float64
	}{
		{"rgb.png", img, "png", 3, 8, 0},
		{"gray.png", gray, "png", 1, 8, 0},
		{"gray16.png", gray16, "png", 1, 16, 0},
		{"deep.png", deep, "png", 3, 16, 0},
		{"rgba.png", seeThrough, "png", 4, 8, 0},
		{"palette.png", palette, "png", 3, 8, 0},
		{"clear.png", clear, "png", 4, 8, 0},
		{"photo.jpg", img, "jpeg", 3, 8, 6},
		{"gray.jpg", gray, "jpeg", 1, 8, 2},
		{"anim.gif", palette, "gif", 3, 8, 0},
		{"picture.bmp", img, "bmp", 3, 8, 0},
		{"picture.tiff", img, "tiff", 3, 8, 0},
		{"deep.tiff", deep, "tiff", 3, 16, 0},
		{"picture.webp", img, "webp", 3, 8, 0},
		{"alpha.webp", seeThrough, "webp", 4, 8, 0.01}, // the colour under full transparency may be dropped
	}
	for _, tt := range tests {
		writeImage(t, filepath.Join(dir, tt.name), tt.img)
	}
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Empty(t, rep.Bad)
	require.Len(t, rep.Items, len(tests))
	items := map[string]Item{}
	at := map[string]int{}
	for i, it := range rep.Items {
		items[it.Name], at[it.Name] = it, i
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			it := items[tt.name]
			it.Content = ""
			require.Equal(t, Item{Name: tt.name, Width: 40, Height: 24, Format: tt.format, Channels: tt.channels, Bits: tt.bits}, it)
			got, err := Decode(t.Context(), rep, at[tt.name])
			require.NoError(t, err)
			require.LessOrEqual(t, meanDifference(t, tt.img, got), tt.within)
		})
	}
	require.Equal(t, []SizeCount{{40, 24, len(tests)}}, rep.Sizes)
}

func TestWrongExtensionIsReadByContent(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "really-a-png.jpg"), encode(t, ".png", picture(8, 8)))
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Equal(t, "png", rep.Items[0].Format)
}

func TestExifOrientationIsApplied(t *testing.T) {
	dir := t.TempDir()
	img := picture(48, 32)
	jpg := encode(t, ".jpg", img)
	for o := uint16(1); o <= 8; o++ {
		write(t, filepath.Join(dir, string('0'+rune(o))+".jpg"), withOrientation(jpg, o))
	}
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Len(t, rep.Items, 8)
	// Where the picture's top left corner (blue) is shown, by orientation: TIFF 6.0, page 36.
	corner := map[int]image.Point{1: {0, 0}, 2: {1, 0}, 3: {1, 1}, 4: {0, 1}, 5: {0, 0}, 6: {1, 0}, 7: {1, 1}, 8: {0, 1}}
	for i, it := range rep.Items {
		o := i + 1
		want := image.Pt(48, 32)
		if o >= 5 {
			want = image.Pt(32, 48)
		}
		require.Equal(t, want, image.Pt(it.Width, it.Height), "orientation %d", o)
		got, err := Decode(t.Context(), rep, i)
		require.NoError(t, err)
		size := got.Bounds().Size()
		for x := range 2 {
			for y := range 2 {
				_, _, b, _ := got.At(got.Bounds().Min.X+x*(size.X-1), got.Bounds().Min.Y+y*(size.Y-1)).RGBA()
				require.Equal(t, corner[o] == image.Pt(x, y), b > 0x8000, "orientation %d, corner %d,%d", o, x, y)
			}
		}
	}
}

func TestSixteenBitsAreRoundedToTheNearest(t *testing.T) {
	for v := range 0x10000 {
		require.Equal(t, uint8(math.Round(float64(v)*255/65535)), round8(uint32(v)))
	}
	deep := image.NewNRGBA64(image.Rect(3, 5, 5, 6))
	deep.SetNRGBA64(3, 5, color.NRGBA64{R: 0x00ff, G: 0x80ff, B: 0xffff, A: 0xfe80})
	got := to8(deep).(*image.NRGBA)
	require.Equal(t, []uint8{1, 0x80, 0xff, 0xfe, 0, 0, 0, 0}, got.Pix)
	pre := image.NewRGBA64(image.Rect(0, 0, 2, 1))
	pre.SetRGBA64(0, 0, color.RGBA64{R: 0x4000, G: 0x8000, B: 0xffff, A: 0x8000}) // B > A: only a hostile file has it
	require.Equal(t, []uint8{128, 255, 255, 128, 0, 0, 0, 0}, to8(pre).(*image.NRGBA).Pix)
}

func TestAnimationGivesItsFirstFrameOnTheWholeCanvas(t *testing.T) {
	pal := color.Palette{color.Transparent, color.NRGBA{R: 255, A: 255}, color.NRGBA{B: 255, A: 255}}
	part := image.NewPaletted(image.Rect(4, 2, 8, 6), pal)
	for i := range part.Pix {
		part.Pix[i] = 1
	}
	full := image.NewPaletted(image.Rect(0, 0, 16, 12), pal)
	for i := range full.Pix {
		full.Pix[i] = 2
	}
	var b bytes.Buffer
	require.NoError(t, gif.EncodeAll(&b, &gif.GIF{
		Image: []*image.Paletted{part, full}, Delay: []int{5, 5}, Config: image.Config{Width: 16, Height: 12, ColorModel: pal},
	}))
	in, err := readInfo(b.Bytes(), defaultLimits)
	require.NoError(t, err)
	img, err := decodePixels(t.Context(), b.Bytes(), in)
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, 16, 12), img.Bounds())
	require.Equal(t, color.NRGBA{R: 255, A: 255}, img.At(4, 2))
	require.Equal(t, color.NRGBA{}, img.At(0, 0))
}

func TestBadFilesAreSetAsideWithAReason(t *testing.T) {
	dir := t.TempDir()
	good := noise(64, 64, 1)
	writeImage(t, filepath.Join(dir, "good.png"), good)
	for _, ext := range []string{".png", ".jpg", ".gif", ".bmp", ".tiff", ".webp"} {
		b := encode(t, ext, good)
		write(t, filepath.Join(dir, "cut"+ext), b[:len(b)/2])
		write(t, filepath.Join(dir, "head"+ext), b[:10])
	}
	write(t, filepath.Join(dir, "empty.png"), nil)
	write(t, filepath.Join(dir, "text.png"), []byte("this is not a picture at all"))
	flipped := encode(t, ".png", good)
	flipped[len(flipped)/2] ^= 0xff
	write(t, filepath.Join(dir, "flipped.png"), flipped)
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"good.png"}, names(rep))
	got := reasons(rep)
	require.Len(t, got, 15)
	require.Equal(t, "the file is empty", got["empty.png"])
	require.Contains(t, got["text.png"], "not a PNG, JPEG")
	require.Contains(t, got["cut.png"], "cut off")
	require.Contains(t, got["cut.jpg"], "cut off")
	require.Contains(t, got["flipped.png"], "damaged")
	for name, reason := range got {
		require.NotEmpty(t, reason, name)
		require.NotContains(t, reason, dir, "the reason does not repeat the path")
	}
}

func TestTooManyPixelsAreRefusedFromTheHeader(t *testing.T) {
	b := encode(t, ".png", picture(4, 4))
	binary.BigEndian.PutUint32(b[16:], 60_000) // IHDR width and height; the header's checksum follows
	binary.BigEndian.PutUint32(b[20:], 60_000)
	binary.BigEndian.PutUint32(b[29:], crcIEEE(b[12:29]))
	_, err := readInfo(b, defaultLimits)
	require.ErrorContains(t, err, "60000 × 60000 pixels are more than the limit of 64 megapixels")

	w := encode(t, ".webp", picture(4, 4))
	require.Equal(t, "VP8L", string(w[12:16]))
	big := bytes.Clone(w)
	binary.LittleEndian.PutUint32(big[21:], 0x3fff|0x3fff<<14)
	_, err = readInfo(big, defaultLimits)
	require.ErrorContains(t, err, "16384 × 16384 pixels")
	// An extended file whose canvas is small and whose frame is huge.
	ext := append([]byte("RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00"), make([]byte, 10)...)
	ext[24], ext[27] = 3, 3
	ext = append(ext, big[12:]...)
	binary.LittleEndian.PutUint32(ext[4:], uint32(len(ext)-8))
	_, err = readInfo(ext, defaultLimits)
	require.ErrorContains(t, err, "16384 × 16384 pixels")
}

func TestFolderWalk(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"b/2.png", "a/1.png", "a/deep/er/3.PNG", "root.png"} {
		write(t, filepath.Join(dir, name), encode(t, ".png", noise(8, 8, uint64(i))))
	}
	write(t, filepath.Join(dir, ".hidden.png"), nil)
	write(t, filepath.Join(dir, ".git/x.png"), nil)
	write(t, filepath.Join(dir, "__MACOSX/x.png"), nil)
	write(t, filepath.Join(dir, "notes.txt"), []byte("hello"))
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "a", "loop")))
	require.NoError(t, os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "b", "again")))
	require.NoError(t, os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling.png")))
	require.NoError(t, os.Symlink("/dev/zero", filepath.Join(dir, "device.png")))
	require.NoError(t, os.Symlink("self.png", filepath.Join(dir, "self.png")))
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"a/1.png", "a/deep/er/3.PNG", "b/2.png", "root.png"}, names(rep))
	require.Equal(t, []ClassCount{{"a", 2}, {"b", 1}, {"unsorted", 1}}, rep.Classes)
	require.Len(t, rep.Bad, 2)
	require.Equal(t, BadFile{Name: "dangling.png", Reason: "it does not exist any more"}, rep.Bad[0])
	require.Equal(t, "self.png", rep.Bad[1].Name)
	require.Contains(t, rep.Bad[1].Reason, "it cannot be opened (")
	require.Equal(t, []PassedOver{{PassedSystem, 2, ".git"}, {PassedUnknown, 3, ".hidden.png"}}, rep.Passed)
	require.Equal(t, 5, rep.Ignored)
}

func TestClasses(t *testing.T) {
	tests := []struct {
		name  string
		files []string
		want  []ClassCount
	}{
		{"all at the root", []string{"a.png", "b.png"}, nil},
		{"two folders", []string{"x/a.png", "y/b.png", "y/c/d.png"}, []ClassCount{{"x", 1}, {"y", 2}}},
		{"below a shared folder", []string{"set/x/a.png", "set/y/b.png"}, []ClassCount{{"x", 1}, {"y", 1}}},
		{"one folder is no class", []string{"x/a.png", "x/b.png"}, nil},
		{"names that only begin alike", []string{"xa/a.png", "xb/b.png"}, []ClassCount{{"xa", 1}, {"xb", 1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var items []Item
			for _, f := range tt.files {
				items = append(items, Item{Name: f})
			}
			require.Equal(t, tt.want, sortInto(items))
			for _, it := range items {
				require.Equal(t, tt.want == nil, it.Class == "")
			}
		})
	}
}

func TestZip(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pictures.zip")
	files := map[string][]byte{
		"set/cats/1.png":          encode(t, ".png", noise(8, 8, 1)),
		"set/dogs/2.jpg":          encode(t, ".jpg", picture(16, 16)),
		`set\dogs\3.png`:          encode(t, ".png", noise(8, 8, 3)),
		"__MACOSX/set/._1.png":    []byte("fork"),
		"set/readme.txt":          []byte("hi"),
		"../../escape.png":        encode(t, ".png", noise(8, 8, 4)),
		"/etc/absolute.png":       encode(t, ".png", noise(8, 8, 5)),
		"set/broken.png":          []byte("no"),
		"set/inner.zip":           []byte("PK"),
		deepName(40) + "deep.png": encode(t, ".png", noise(8, 8, 6)),
	}
	writeZip(t, path, files)
	rep, err := Scan(t.Context(), path, nil)
	require.NoError(t, err)
	require.Equal(t, Zip, rep.Kind)
	require.Equal(t, []string{"set/cats/1.png", "set/dogs/2.jpg", "set/dogs/3.png"}, names(rep))
	require.Equal(t, []ClassCount{{"cats", 1}, {"dogs", 2}}, rep.Classes)
	bad := reasons(rep)
	require.Len(t, bad, 4)
	require.Contains(t, bad["../../escape.png"], "leads out")
	require.Contains(t, bad["/etc/absolute.png"], "leads out")
	require.Contains(t, bad[deepName(40)+"deep.png"], "folders deep")
	require.Contains(t, bad["set/broken.png"], "not a PNG")
	require.Equal(t, 3, rep.Ignored)
	img, err := Decode(t.Context(), rep, 2)
	require.NoError(t, err)
	require.Zero(t, meanDifference(t, noise(8, 8, 3), img))
}

func deepName(n int) string { return strings.Repeat("d/", n) }

func TestZipBombsAreRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "bomb.zip")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range 6 {
		w, err := z.CreateRaw(&zip.FileHeader{
			Name: string('a'+rune(i)) + ".bmp", Method: zip.Deflate, CompressedSize64: 4, UncompressedSize64: 100 << 20,
		})
		require.NoError(t, err)
		_, err = w.Write([]byte{1, 2, 3, 4})
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	write(t, path, b.Bytes())
	_, err := Scan(t.Context(), path, nil)
	require.ErrorContains(t, err, "zip bomb")

	// An entry that lies about its size is cut at the limit while it is read.
	small := filepath.Join(dir, "liar.zip")
	writeZip(t, small, map[string][]byte{"a.png": append(encode(t, ".png", picture(8, 8)), make([]byte, 1<<20)...)})
	_, err = scan(t.Context(), small, limits{file: 1 << 16, pixels: 1 << 20}, nil)
	require.ErrorIs(t, err, ErrNoImages)
	require.ErrorContains(t, err, "larger than")
}

func TestIDX(t *testing.T) {
	pixel := func(i, y, x int) byte { return byte(i*40 + y*16 + x*3) }
	images := idxBytes(5, 6, 7, pixel)
	labels := labelBytes(3, 0, 10, 3, 2)
	for _, zipped := range []bool{false, true} {
		for _, sep := range []string{"-", "."} {
			dir := t.TempDir()
			im, lb, ext := images, labels, ""
			if zipped {
				im, lb, ext = gz(t, images), gz(t, labels), ".gz"
			}
			file := filepath.Join(dir, "train-images"+sep+"idx3-ubyte"+ext)
			write(t, file, im)
			write(t, filepath.Join(dir, "train-labels"+sep+"idx1-ubyte"+ext), lb)
			write(t, filepath.Join(dir, "t10k-images"+sep+"idx3-ubyte"+ext), []byte("not looked at"))
			for _, path := range []string{dir, file} {
				rep, err := Scan(t.Context(), path, nil)
				require.NoError(t, err)
				require.Equal(t, IDX, rep.Kind)
				require.Equal(t, []ClassCount{{"0", 1}, {"2", 1}, {"3", 2}, {"10", 1}}, rep.Classes)
				require.Equal(t, Item{Name: "00000004", Class: "2", Width: 7, Height: 6, Format: "idx", Channels: 1, Bits: 8, Content: rep.Items[4].Content}, rep.Items[4])
				img, err := Decode(t.Context(), rep, 4)
				require.NoError(t, err)
				require.Equal(t, color.Gray{Y: pixel(4, 5, 6)}, img.At(6, 5))
			}
		}
	}
}

func TestBadIDX(t *testing.T) {
	ok := idxBytes(3, 4, 4, func(i, y, x int) byte { return byte(i + y + x) })
	claim := bytes.Clone(ok)
	binary.BigEndian.PutUint32(claim[4:], 0xffffffff)
	tests := []struct {
		name           string
		images, labels []byte
		want           string
	}{
		{"cut off", ok[:40], nil, "cut off"},
		{"cut off, zipped", gz(t, ok[:40]), nil, "cut off"},
		{"header only", ok[:9], nil, "header is cut off"},
		{"huge claim", claim, nil, "out of bounds|cut off"},
		{"huge claim, zipped", gz(t, claim), nil, "out of bounds|cut off"},
		{"wrong magic", append([]byte{1}, ok[1:]...), nil, "magic"},
		{"not gzip", []byte{0x1f, 0x8b, 0}, nil, "not a gzip"},
		{"other labels", ok, labelBytes(1, 2), "do not belong together"},
		{"labels of one more", ok, labelBytes(1, 2, 3, 4), "has 4 labels for 3 pictures"},
		{"labels cut off", ok, labelBytes(1, 2, 3)[:10], "promises 11 bytes and it has 10"},
		{"labels are none", ok, []byte("nonsense"), "not an IDX file of labels"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "images-idx3-ubyte"), tt.images)
			if tt.labels != nil {
				write(t, filepath.Join(dir, "labels-idx1-ubyte"), tt.labels)
			}
			_, err := Scan(t.Context(), dir, nil)
			require.Error(t, err)
			require.Regexp(t, tt.want, err.Error())
		})
	}
}

func TestNothingToScan(t *testing.T) {
	dir := t.TempDir()
	_, err := Scan(t.Context(), filepath.Join(dir, "missing"), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "give a folder of pictures")
	_, err = Scan(t.Context(), dir, nil)
	require.ErrorIs(t, err, ErrNoImages)
	write(t, filepath.Join(dir, "a.txt"), []byte("x"))
	_, err = Scan(t.Context(), filepath.Join(dir, "a.txt"), nil)
	require.ErrorContains(t, err, "is not a dataset")
	write(t, filepath.Join(dir, "a.zip"), []byte("x"))
	_, err = Scan(t.Context(), filepath.Join(dir, "a.zip"), nil)
	require.ErrorContains(t, err, "cannot be read as a .zip archive: it is damaged or cut off, or none")
	write(t, filepath.Join(dir, "bad.png"), []byte("x"))
	rep, err := Scan(t.Context(), dir, nil)
	require.ErrorIs(t, err, ErrNoImages)
	require.Len(t, rep.Bad, 1, "the report comes with the error")
}

func TestScanStopsWhenCancelled(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		writeImage(t, filepath.Join(dir, string('a'+rune(i))+".png"), noise(32, 32, uint64(i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Scan(ctx, dir, func(p Progress) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
}

func TestScanReportsProgress(t *testing.T) {
	dir := t.TempDir()
	for i := range 7 {
		writeImage(t, filepath.Join(dir, string('a'+rune(i))+".png"), noise(8, 8, uint64(i)))
	}
	var last Progress
	_, err := Scan(t.Context(), dir, func(p Progress) {
		if p.Total > 0 {
			require.GreaterOrEqual(t, p.Done, last.Done)
			last = p
		}
	})
	require.NoError(t, err)
	require.Equal(t, Progress{Done: 7, Total: 7, What: "Looking at the pictures"}, last)
}

func crcIEEE(b []byte) uint32 { return crc32.ChecksumIEEE(b) }

// Pictures that other programs wrote, against Pillow's decoding of the same files (bench/fixtures/pictures.py). Lossy formats
// leave it to decoders how colour is enlarged (Go repeats that of a JPEG) and rounded.
func TestPicturesDecodeAsInPillow(t *testing.T) {
	within := map[string]float64{
		"cmyk.jpg": 0.1, "progressive.jpg": 2.5, "subsampled.jpg": 2.5, "lossy.webp": 0.5, "lossy-alpha.webp": 0.5, "animated.webp": 0.5,
	}
	const dir = "testdata/pictures"
	files, err := filepath.Glob(dir + "/*.png.png")
	require.NoError(t, err)
	more, err := filepath.Glob(dir + "/*.[jwtbg]*.png")
	require.NoError(t, err)
	require.Len(t, append(files, more...), 14)
	s, err := OpenSource(dir)
	require.NoError(t, err)
	defer s.Close()
	for _, reference := range append(files, more...) {
		name := strings.TrimSuffix(filepath.Base(reference), ".png")
		t.Run(name, func(t *testing.T) {
			want, err := s.Image(t.Context(), filepath.Base(reference))
			require.NoError(t, err)
			got, err := s.Image(t.Context(), name)
			require.NoError(t, err)
			d := meanDifference(t, want, got)
			t.Logf("mean difference %.3f", d)
			require.LessOrEqual(t, d, within[name])
		})
	}
}

// Files that say how they are to be turned look as they do in Pillow, with every format, when scanned, decoded and cached.
func TestOrientationLikePillow(t *testing.T) {
	const dir = "testdata/pictures/orientation"
	s, err := OpenSource(dir)
	require.NoError(t, err)
	defer s.Close()
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Len(t, rep.Items, 8*5)
	c := build(t, rep, Preprocess{Width: 24, Height: 24, Channels: 3, Fit: Stretch}, t.TempDir())
	cached := map[string][]byte{}
	for i := range c.Len() {
		cached[c.Name(i)] = bytesOf(t, c, i)
	}
	for _, it := range rep.Items {
		t.Run(it.Name, func(t *testing.T) {
			reference := it.Name[:1] + ".upright.png"
			want, err := s.Image(t.Context(), reference)
			require.NoError(t, err)
			require.Equal(t, want.Bounds().Size(), image.Pt(it.Width, it.Height), "the scan tells the size that is seen")
			got, err := s.Image(t.Context(), it.Name)
			require.NoError(t, err)
			within := 0.0
			if it.Format == "jpeg" {
				within = 3
			}
			require.LessOrEqual(t, meanDifference(t, want, got), within)
			if within == 0 {
				require.Equal(t, cached[reference], cached[it.Name])
			}
		})
	}
}

func TestOrientationKeepsSixteenBitsRounded(t *testing.T) {
	deep := image.NewGray16(image.Rect(0, 0, 2, 1))
	deep.SetGray16(0, 0, color.Gray16{Y: 0x7fff})
	deep.SetGray16(1, 0, color.Gray16{Y: 0x80ff})
	got := upright(deep, 2)
	require.Equal(t, to8(deep).At(0, 0), got.At(1, 0))
	require.Equal(t, to8(deep).At(1, 0), got.At(0, 0))
}

func TestOrientationOfDamagedAndOddFiles(t *testing.T) {
	block := func(order binary.AppendByteOrder, tag, kind, value uint16) []byte {
		b := []byte("II")
		if order == binary.AppendByteOrder(binary.BigEndian) {
			b = []byte("MM")
		}
		b = order.AppendUint32(order.AppendUint16(b, 42), 8)
		b = order.AppendUint16(b, 2)
		for _, field := range [][3]uint16{{0x0100, 3, 7}, {tag, kind, value}} {
			b = order.AppendUint16(order.AppendUint16(b, field[0]), field[1])
			b = order.AppendUint16(order.AppendUint16(order.AppendUint32(b, 1), field[2]), 0)
		}
		return order.AppendUint32(b, 0)
	}
	little, big := block(binary.LittleEndian, 274, 3, 6), block(binary.BigEndian, 274, 3, 6)
	jpg := func(segments ...string) []byte {
		b := []byte("\xff\xd8")
		for _, s := range segments {
			b = append(binary.BigEndian.AppendUint16(append(b, "\xff\xff\xe1"...), uint16(len(s)+2)), s...)
		}
		return append(b, "\xff\xda\x00\x02"...)
	}
	chunk := func(order binary.AppendByteOrder, id string, body []byte) []byte {
		if order == binary.AppendByteOrder(binary.BigEndian) {
			return append(append(append(order.AppendUint32(nil, uint32(len(body))), id...), body...), 0, 0, 0, 0)
		}
		return append(order.AppendUint32([]byte(id), uint32(len(body))), append(body, make([]byte, len(body)%2)...)...)
	}
	pngFile := append([]byte("\x89PNG\r\n\x1a\n"), append(chunk(binary.BigEndian, "IDAT", []byte("x")), chunk(binary.BigEndian, "eXIf", big)...)...)
	webpFile := append([]byte("RIFFsizeWEBP"), append(chunk(binary.LittleEndian, "VP8L", []byte("x")), chunk(binary.LittleEndian, "EXIF", append([]byte("Exif\x00\x00"), little...))...)...)
	far := bytes.Clone(little)
	binary.LittleEndian.PutUint32(far[4:], 0xffffffff)
	many := bytes.Clone(little)
	binary.LittleEndian.PutUint16(many[8:], 0xffff)
	for _, c := range []struct {
		name, format string
		b            []byte
		want         int
	}{
		{"little-endian", "tiff", little, 6},
		{"big-endian", "tiff", big, 6},
		{"more fields promised", "tiff", many, 6},
		{"cut in the field", "tiff", little[:len(little)-10], 1},
		{"cut in the head", "tiff", little[:7], 1},
		{"directory beyond the end", "tiff", far, 1},
		{"another type", "tiff", block(binary.LittleEndian, 274, 4, 6), 1},
		{"no such orientation", "tiff", block(binary.LittleEndian, 274, 3, 9), 1},
		{"another field", "tiff", block(binary.LittleEndian, 275, 3, 6), 1},
		{"another byte order", "tiff", append([]byte("MM"), little[2:]...), 1},
		{"XMP before Exif", "jpeg", jpg("http://ns.adobe.com/xap/1.0/\x00<x/>", "Exif\x00\x00"+string(big)), 6},
		{"behind the pixels", "jpeg", append([]byte("\xff\xd8\xff\xda\x00\x02"), jpg("Exif\x00\x00" + string(big))[2:]...), 1},
		{"segment cut short", "jpeg", jpg("Exif\x00\x00" + string(big))[:30], 1},
		{"behind the pixels, as allowed", "png", pngFile, 6},
		{"chunk cut short", "png", pngFile[:len(pngFile)-6], 1},
		{"with a JPEG's head", "webp", webpFile, 6},
		{"not read", "gif", little, 1},
		{"empty", "png", nil, 1},
	} {
		require.Equal(t, c.want, orientation(c.b, c.format), c.name)
	}
}

// The first frame of an animated WebP may be a part of the canvas; what lies outside of it is refused.
func TestAnimatedWebPGivesItsFirstFrame(t *testing.T) {
	still := encode(t, ".webp", picture(10, 6))
	var vp8l []byte
	for id, body := range webpChunks(still[12:]) {
		if id == "VP8L" {
			vp8l = body
		}
	}
	require.NotEmpty(t, vp8l)
	u24 := func(v int) []byte { return []byte{byte(v), byte(v >> 8), byte(v >> 16)} }
	chunk := func(id string, parts ...[]byte) []byte {
		body := bytes.Join(parts, nil)
		b := binary.LittleEndian.AppendUint32([]byte(id), uint32(len(body)))
		return append(append(b, body...), make([]byte, len(body)%2)...)
	}
	anmf := func(at, size image.Point, chunks ...[]byte) []byte {
		return chunk("ANMF", u24(at.X/2), u24(at.Y/2), u24(size.X-1), u24(size.Y-1), u24(100), []byte{0}, bytes.Join(chunks, nil))
	}
	file := func(canvas image.Point, frame []byte) []byte {
		body := bytes.Join([][]byte{
			[]byte("WEBP"), chunk("VP8X", []byte{0x12, 0, 0, 0}, u24(canvas.X-1), u24(canvas.Y-1)),
			chunk("ANIM", make([]byte, 6)), frame, frame,
		}, nil)
		return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
	}
	animation := func(canvas, at, size image.Point) []byte { return file(canvas, anmf(at, size, chunk("VP8L", vp8l))) }
	dir := t.TempDir()
	size := image.Pt(10, 6)
	// What is made to exhaust memory or time: transparency for a frame far larger than the canvas, as a picture of its own and as it
	// is; a picture in a frame within a frame, and a larger one behind it; frames within frames within frames.
	huge := image.Pt(1<<15, 1<<15)
	alph := func(compression byte) []byte { return chunk("ALPH", []byte{compression}, vp8l[5:]) }
	write(t, filepath.Join(dir, "alpha-raw.webp"), file(image.Pt(20, 16), anmf(image.Point{}, huge, alph(0), chunk("VP8L", vp8l))))
	write(t, filepath.Join(dir, "alpha-packed.webp"), file(image.Pt(20, 16), anmf(image.Point{}, huge, alph(1), chunk("VP8L", vp8l))))
	behind := bytes.Clone(vp8l)
	binary.LittleEndian.PutUint32(behind[1:], 1<<14-1|(1<<14-1)<<14)
	write(t, filepath.Join(dir, "behind.webp"), file(image.Pt(20, 16), anmf(image.Point{}, image.Pt(1<<14, 1<<14),
		anmf(image.Point{}, size, chunk("VP8L", vp8l)), chunk("VP8L", behind))))
	nested := make([]byte, 24<<17)
	for i := 0; i < len(nested); i += 24 {
		copy(nested[i:], "ANMF")
		binary.LittleEndian.PutUint32(nested[i+4:], uint32(len(nested)-i-8))
	}
	write(t, filepath.Join(dir, "nested.webp"), file(image.Pt(20, 16), nested))
	write(t, filepath.Join(dir, "part.webp"), animation(image.Pt(20, 16), image.Pt(4, 8), size))
	write(t, filepath.Join(dir, "outside.webp"), animation(image.Pt(20, 16), image.Pt(12, 8), size))
	write(t, filepath.Join(dir, "lies.webp"), animation(image.Pt(20, 16), image.Pt(4, 8), image.Pt(11, 6)))
	write(t, filepath.Join(dir, "empty.webp"), animation(image.Pt(20, 16), image.Pt(4, 8), size)[:60])
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"part.webp"}, names(rep))
	bad := map[string]string{}
	for _, b := range rep.Bad {
		bad[b.Name] = b.Reason
	}
	for _, name := range []string{"outside.webp", "alpha-raw.webp", "alpha-packed.webp", "behind.webp"} {
		require.Equal(t, "its header and its content disagree about its size", bad[name], name)
	}
	require.Contains(t, bad, "nested.webp")
	require.Contains(t, bad["lies.webp"], "damaged")
	require.Contains(t, bad["empty.webp"], "cut off")
	got, err := Decode(t.Context(), rep, 0)
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, 20, 16), got.Bounds())
	want := picture(10, 6)
	for y := range 16 {
		for x := range 20 {
			expect := color.NRGBA{}
			if p := image.Pt(x-4, y-8); p.In(want.Bounds()) {
				expect = color.NRGBAModel.Convert(want.At(p.X, p.Y)).(color.NRGBA)
			}
			require.Equal(t, expect, color.NRGBAModel.Convert(got.At(x, y)), "%d, %d", x, y)
		}
	}
}
