package pagetest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"

	"unnoise/ui/page"
)

// Export waits for the dialog of an export, chooses a kind of it ("" is the first), types the place and exports.
func (b *Bench) Export(kind, out string) {
	b.T.Helper()
	b.Wait("the dialog", func() bool { return b.Button("Export") != nil && b.Window.Canvas().Overlays().Top() != nil })
	if kind != "" {
		kinds := Find(b, func(*widget.RadioGroup) bool { return true })
		require.NotNil(b.T, kinds)
		require.Contains(b.T, kinds.Options, kind)
		kinds.SetSelected(kind)
	}
	path := Find(b, func(e *page.Entry) bool { return filepath.IsAbs(e.Text) })
	require.NotNil(b.T, path)
	path.SetText(out)
	b.Tap("Export")
	b.Wait(out, func() bool { _, err := os.Stat(out); return err == nil && len(b.S.Tasks()) == 0 })
}

// Type types into the entry beside a label, in the dialog on show.
func (b *Bench) Type(label, text string) {
	b.T.Helper()
	beside := false
	e := Find(b, func(o fyne.CanvasObject) bool {
		if l, ok := o.(*widget.Label); ok && l.Text == label {
			beside = true
		}
		_, entry := o.(*page.Entry)
		return beside && entry
	})
	require.NotNil(b.T, e, "the entry beside %q", label)
	e.(*page.Entry).SetText(text)
	b.Turn()
}

// PNG reads a picture.
func PNG(t testing.TB, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	img, err := png.Decode(f)
	require.NoError(t, err)
	return img
}

// APNG takes an animated PNG apart: its frames, each decoded by Go's own decoder, and for how many milliseconds each is
// shown (https://www.w3.org/TR/png-3/#11acTL).
func APNG(t testing.TB, path string) (frames []image.Image, delays []int) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	const signature = "\x89PNG\r\n\x1a\n"
	require.Equal(t, signature, string(b[:8]))
	var head, data []byte
	declared := -1
	chunk := func(kind string, body []byte) []byte {
		out := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
		out = append(append(out, kind...), body...)
		return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
	}
	end := func() {
		if data == nil {
			return
		}
		img, err := png.Decode(bytes.NewReader(append(append(append([]byte(signature), head...), chunk("IDAT", data)...), chunk("IEND", nil)...)))
		require.NoError(t, err)
		frames, data = append(frames, img), nil
	}
	for p := b[8:]; len(p) > 0; {
		n := int(binary.BigEndian.Uint32(p))
		kind, body := string(p[4:8]), p[8:8+n]
		require.Equal(t, crc32.ChecksumIEEE(p[4:8+n]), binary.BigEndian.Uint32(p[8+n:]))
		p = p[12+n:]
		switch kind {
		case "IHDR", "PLTE", "tRNS":
			head = append(head, chunk(kind, body)...)
		case "acTL":
			declared = int(binary.BigEndian.Uint32(body))
		case "fcTL":
			end()
			num, den := int(binary.BigEndian.Uint16(body[20:])), int(binary.BigEndian.Uint16(body[22:]))
			delays = append(delays, 1000*num/den)
		case "IDAT":
			data = append(data, body...)
		case "fdAT":
			data = append(data, body[4:]...)
		}
	}
	end()
	require.Equal(t, declared, len(frames))
	require.Equal(t, len(delays), len(frames))
	return frames, delays
}

// Same says whether two pictures have the same pixels, when each of a is drawn as a square of scale × scale in b.
func Same(a, b image.Image, scale int) bool {
	ra, rb := a.Bounds(), b.Bounds()
	if ra.Dx()*scale != rb.Dx() || ra.Dy()*scale != rb.Dy() {
		return false
	}
	for y := range rb.Dy() {
		for x := range rb.Dx() {
			r1, g1, b1, a1 := a.At(ra.Min.X+x/scale, ra.Min.Y+y/scale).RGBA()
			r2, g2, b2, a2 := b.At(rb.Min.X+x, rb.Min.Y+y).RGBA()
			if r1 != r2 || g1 != g2 || b1 != b2 || a1 != a2 {
				return false
			}
		}
	}
	return true
}
