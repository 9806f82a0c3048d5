package picture

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/webp"
)

func frames(t *testing.T, c, w, h, n int) []image.Image {
	t.Helper()
	var imgs []image.Image
	for i := range n {
		imgs = append(imgs, noise(t, c, w, h, uint64(i)))
	}
	return imgs
}

// smooth is a frame of many colours, like a denoised picture.
func smooth(w, h, i int) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetRGBA(x, y, color.RGBA{uint8(x * 255 / w), uint8(y * 255 / h), uint8(40*i + x), 255})
		}
	}
	return m
}

var show = Animation{Delay: 40 * time.Millisecond, Hold: time.Second, Scale: 2}

func TestGIFWithFewColoursIsExact(t *testing.T) {
	imgs := frames(t, 1, 9, 7, 4) // at most 4·63 colours
	clear := image.NewNRGBA(image.Rect(0, 0, 9, 7))
	clear.SetNRGBA(3, 2, color.NRGBA{200, 10, 20, 255})
	for name, imgs := range map[string][]image.Image{"opaque": imgs, "transparent": {clear, imgs[0], imgs[1]}} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "x.gif")
			require.NoError(t, WriteGIF(context.Background(), p, FramesOf(imgs), show))
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			g, err := gif.DecodeAll(bytes.NewReader(b))
			require.NoError(t, err)
			require.Len(t, g.Image, len(imgs))
			require.Equal(t, 0, g.LoopCount)
			for i, img := range imgs {
				want, err := Scale(img, 2)
				require.NoError(t, err)
				same(t, want, g.Image[i], i)
				require.Equal(t, map[bool]int{false: 4, true: 104}[i == len(imgs)-1], g.Delay[i])
			}
			q := filepath.Join(t.TempDir(), "y.gif")
			require.NoError(t, WriteGIF(context.Background(), q, FramesOf(imgs), show))
			again, err := os.ReadFile(q)
			require.NoError(t, err)
			require.Equal(t, b, again, "the same frames give the same bytes")
		})
	}
}

func TestGIFWithManyColoursIsClose(t *testing.T) {
	const w, h, n = 96, 64, 5
	fr := Frames{N: n, At: func(i int) (image.Image, error) { return smooth(w, h, i), nil }}
	p := filepath.Join(t.TempDir(), "x.gif")
	require.NoError(t, WriteGIF(context.Background(), p, fr, Animation{Delay: time.Millisecond * 50}))
	f, err := os.Open(p)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	g, err := gif.DecodeAll(f)
	require.NoError(t, err)
	require.Len(t, g.Image, n)
	var ours, plan9, mean float64
	for i, m := range g.Image {
		want := smooth(w, h, i).(*image.RGBA)
		other := image.NewPaletted(m.Rect, palette.Plan9)
		draw.FloydSteinberg.Draw(other, m.Rect, want, image.Point{})
		e, d := distance(want, m)
		ours, mean = ours+e, mean+d
		e, _ = distance(want, other)
		plan9 += e
	}
	require.Less(t, ours, plan9/2, "a palette of the frames' own beats Go's fixed one")
	require.InDelta(t, 0, mean/(3*n*w*h), 1, "dithering keeps the mean")
}

// distance sums the squared and the signed differences over pixels and colours.
func distance(a, b image.Image) (squared, signed float64) {
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			p, q := color.RGBAModel.Convert(a.At(x, y)).(color.RGBA), color.RGBAModel.Convert(b.At(x, y)).(color.RGBA)
			for _, d := range []float64{float64(q.R) - float64(p.R), float64(q.G) - float64(p.G), float64(q.B) - float64(p.B)} {
				squared += d * d
				signed += d
			}
		}
	}
	return squared, signed
}

func TestAPNG(t *testing.T) {
	mixed := frames(t, 4, 5, 4, 2)
	for name, imgs := range map[string][]image.Image{
		"gray": frames(t, 1, 5, 4, 3), "colour": frames(t, 3, 5, 4, 3), "alpha": frames(t, 4, 5, 4, 3),
		"mixed": {mixed[0], noise(t, 3, 5, 4, 1), noise(t, 1, 5, 4, 1), mixed[1]}, "gray and colour": {noise(t, 1, 5, 4, 1), noise(t, 3, 5, 4, 1)},
		"one": frames(t, 3, 5, 4, 1),
	} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "x.png")
			require.NoError(t, WriteAPNG(context.Background(), p, FramesOf(imgs), show, &meta))
			first, err := Read(p) // viewers that know no APNG see the first frame
			require.NoError(t, err)
			want, err := Scale(imgs[0], 2)
			require.NoError(t, err)
			same(t, want, first)
			m, err := ReadMeta(p)
			require.NoError(t, err)
			require.Equal(t, meta.Run, m.Run)

			b, err := os.ReadFile(p)
			require.NoError(t, err)
			got, delays := unpackAPNG(t, b)
			require.Len(t, got, len(imgs))
			for i := range imgs {
				want, err := Scale(imgs[i], 2)
				require.NoError(t, err)
				same(t, want, got[i], i)
				require.Equal(t, map[bool]int{false: 40, true: 1040}[i == len(imgs)-1], delays[i])
			}
		})
	}
}

// unpackAPNG turns every frame into a PNG of its own for image/png, checking the sequence numbers on the way.
func unpackAPNG(t *testing.T, b []byte) (out []image.Image, delays []int) {
	t.Helper()
	c := chunks{r: bufio.NewReader(bytes.NewReader(b))}
	var head []byte
	var data []byte
	var seq, count uint32
	flush := func() {
		if data == nil {
			return
		}
		one := appendChunk(appendChunk([]byte(pngSignature), "IHDR", head), "IDAT", data)
		img, err := png.Decode(bytes.NewReader(appendChunk(one, "IEND", nil)))
		require.NoError(t, err)
		out, data = append(out, img), nil
	}
	for {
		kind, _, err := c.next()
		require.NoError(t, err)
		raw, err := c.read()
		require.NoError(t, err)
		switch kind {
		case "IHDR":
			head = raw
		case "acTL":
			count = binary.BigEndian.Uint32(raw)
			require.Empty(t, data, "acTL comes before the pixels")
			require.Zero(t, binary.BigEndian.Uint32(raw[4:]), "it repeats for ever")
		case "fcTL":
			flush()
			require.Equal(t, seq, binary.BigEndian.Uint32(raw))
			require.Equal(t, head[:8], raw[4:12])
			seq++
			require.EqualValues(t, 1000, binary.BigEndian.Uint16(raw[22:]))
			delays = append(delays, int(binary.BigEndian.Uint16(raw[20:])))
		case "IDAT":
			data = append(data, raw...)
		case "fdAT":
			require.Equal(t, seq, binary.BigEndian.Uint32(raw))
			seq++
			data = append(data, raw[4:]...)
		case "IEND":
			flush()
			require.EqualValues(t, count, len(out))
			return out, delays
		}
	}
}

func TestWebP(t *testing.T) {
	for name, imgs := range map[string][]image.Image{
		"gray": frames(t, 1, 5, 4, 3), "colour": frames(t, 3, 33, 17, 3), "alpha": frames(t, 4, 5, 4, 3),
		"mixed": {noise(t, 3, 5, 4, 1), noise(t, 4, 5, 4, 1)}, "dot": frames(t, 3, 1, 1, 2),
		"smooth": {smooth(64, 48, 0), smooth(64, 48, 3)}, "flat": {image.NewGray(image.Rect(0, 0, 8, 8))},
	} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "x.webp")
			require.NoError(t, WriteWebP(context.Background(), p, FramesOf(imgs), show))
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			require.Equal(t, "RIFF", string(b[:4]))
			require.EqualValues(t, len(b)-8, binary.LittleEndian.Uint32(b[4:]))
			require.Equal(t, "WEBP", string(b[8:12]))
			size := imgs[0].Bounds().Size().Mul(2)
			i := 0
			for b = b[12:]; len(b) > 0; {
				kind, n := string(b[:4]), int(binary.LittleEndian.Uint32(b[4:]))
				data := b[8 : 8+n]
				b = b[8+n+n%2:]
				switch kind {
				case "VP8X":
					require.NotZero(t, data[0]&2)
					require.Equal(t, name == "alpha" || name == "mixed", data[0]&16 != 0)
					require.Equal(t, size.X-1, int(data[4])|int(data[5])<<8|int(data[6])<<16)
					require.Equal(t, size.Y-1, int(data[7])|int(data[8])<<8|int(data[9])<<16)
				case "ANMF":
					require.Equal(t, map[bool]int{false: 40, true: 1040}[i == len(imgs)-1], int(data[12])|int(data[13])<<8|int(data[14])<<16)
					one := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(4+len(data)-16))
					got, err := webp.Decode(bytes.NewReader(append(append(one, "WEBP"...), data[16:]...)))
					require.NoError(t, err)
					want, err := Scale(imgs[i], 2)
					require.NoError(t, err)
					same(t, want, got, i)
					i++
				}
			}
			require.Equal(t, len(imgs), i)
		})
	}
}

func TestAnimationsRefuse(t *testing.T) {
	boom := errors.New("boom")
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	a, b := noise(t, 3, 4, 4, 1), noise(t, 3, 4, 5, 1)
	second := 0
	for name, write := range map[string]func(context.Context, string, Frames, Animation) error{
		"gif": WriteGIF, "webp": WriteWebP,
		"apng": func(ctx context.Context, p string, fr Frames, a Animation) error {
			return WriteAPNG(ctx, p, fr, a, nil)
		},
	} {
		dir := t.TempDir()
		p := filepath.Join(dir, "x")
		ctx := context.Background()
		require.NoError(t, os.WriteFile(p, []byte("former"), 0o600))
		require.ErrorIs(t, write(ctx, p, FramesOf([]image.Image{a}), show), fs.ErrExist, name)
		b0, err := os.ReadFile(p)
		require.NoError(t, err)
		require.Equal(t, "former", string(b0))
		require.NoError(t, os.Remove(p))
		require.ErrorIs(t, write(ctx, p, Frames{}, show), errNoFrames, name)
		require.ErrorIs(t, write(gone, p, FramesOf([]image.Image{a}), show), context.Canceled, name)
		require.ErrorContains(t, write(ctx, p, FramesOf([]image.Image{a, b}), show), "one size", name)
		require.ErrorContains(t, write(ctx, p, FramesOf([]image.Image{a}), Animation{Delay: time.Hour}), "cannot be shown", name)
		require.Error(t, write(ctx, p, FramesOf([]image.Image{a}), Animation{Scale: 1 << 30}), name)
		second = 0
		require.ErrorIs(t, write(ctx, p, Frames{N: 2, At: func(int) (image.Image, error) {
			if second++; second > 3 { // in the second pass
				return nil, boom
			}
			return a, nil
		}}, show), boom, name)
		es, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, es, name)
	}
}

func TestZip(t *testing.T) {
	imgs := frames(t, 3, 6, 6, 4)
	at := func(i int) (Entry, error) {
		m := meta
		m.Index = i
		return Entry{Name: fmt.Sprintf("äpfel/%06d.png", i), Image: imgs[i], Meta: &m}, nil
	}
	dir := t.TempDir()
	p, q := filepath.Join(dir, "a.zip"), filepath.Join(dir, "b.zip")
	require.NoError(t, WriteZip(context.Background(), p, 4, at))
	require.NoError(t, WriteZip(context.Background(), q, 4, at))
	a, err := os.ReadFile(p)
	require.NoError(t, err)
	b, err := os.ReadFile(q)
	require.NoError(t, err)
	require.Equal(t, a, b)
	z, err := zip.NewReader(bytes.NewReader(a), int64(len(a)))
	require.NoError(t, err)
	require.Len(t, z.File, 4)
	for i, f := range z.File {
		require.Equal(t, fmt.Sprintf("äpfel/%06d.png", i), f.Name)
		require.Equal(t, zip.Store, f.Method)
		r, err := f.Open()
		require.NoError(t, err)
		raw, err := io.ReadAll(r) // checks the CRC
		require.NoError(t, err)
		img, err := png.Decode(bytes.NewReader(raw))
		require.NoError(t, err)
		same(t, imgs[i], img)
		m, err := DecodeMeta(bytes.NewReader(raw))
		require.NoError(t, err)
		require.Equal(t, i, m.Index)
	}

	bad := filepath.Join(dir, "bad.zip")
	for _, name := range []string{"../x.png", "/x.png", "", ".", "same"} {
		err := WriteZip(context.Background(), bad, 2, func(i int) (Entry, error) {
			if name == "same" || i == 1 {
				return Entry{Name: name, Image: imgs[i]}, nil
			}
			return Entry{Name: "ok", Image: imgs[i]}, nil
		})
		require.ErrorContains(t, err, "cannot be named")
	}
	require.Error(t, WriteZip(context.Background(), bad, 0, at))
	require.NoFileExists(t, bad)
	require.ErrorIs(t, WriteZip(context.Background(), p, 4, at), fs.ErrExist)
	again, err := os.ReadFile(p)
	require.NoError(t, err)
	require.Equal(t, a, again, "a failed write leaves the former file")
}
