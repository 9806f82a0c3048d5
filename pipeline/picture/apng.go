package picture

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"image"
	"image/draw"
	"io"
	"time"

	"unnoise/runtime/sentence"
)

// WriteAPNG writes an animated PNG, atomically and never in the place of something (PNG 3rd edition, 11.3.6): lossless, with partial transparency, shown by
// every browser, and by other viewers as its first frame. Frames are written as they are drawn. meta is as for
// EncodePNG.
func WriteAPNG(ctx context.Context, path string, fr Frames, a Animation, meta *Meta) error {
	s, err := look(ctx, fr, a, nil)
	if err != nil {
		return sentence.Errorf("write APNG: %w", err)
	}
	if meta != nil && meta.Width == 0 {
		m := *meta
		m.Width, m.Height = s.size.X, s.size.Y
		meta = &m
	}
	return writeNew(path, func(w io.Writer) error {
		seq := uint32(0)
		for i := range fr.N {
			img, err := frame(ctx, fr, i)
			if err != nil {
				return err
			}
			if img, err = Scale(s.normal(img), a.Scale); err != nil {
				return err
			}
			var one bytes.Buffer
			if i > 0 {
				meta = nil
			}
			if err := EncodePNG(&one, s.alike(img), meta); err != nil {
				return err
			}
			if err := appendFrame(w, &one, i, fr.N, img.Bounds().Size(), a.delay(i, fr.N), &seq); err != nil {
				return err
			}
		}
		_, err := w.Write(appendChunk(nil, "IEND", nil))
		return err
	})
}

// appendFrame writes the frame whose PNG is one.
func appendFrame(w io.Writer, one io.Reader, i, n int, size image.Point, delay time.Duration, seq *uint32) error {
	next := func(b []byte) []byte {
		b = binary.BigEndian.AppendUint32(b, *seq)
		*seq++
		return b
	}
	control := func() []byte {
		b := next(nil)
		b = binary.BigEndian.AppendUint32(b, uint32(size.X))
		b = binary.BigEndian.AppendUint32(b, uint32(size.Y))
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // at the upper left corner
		b = binary.BigEndian.AppendUint16(b, uint16(delay/time.Millisecond))
		b = binary.BigEndian.AppendUint16(b, 1000)
		return append(b, 0, 0) // leave it; replace what was there, alpha included
	}
	var out []byte
	if i == 0 {
		out = append(out, pngSignature...)
	}
	c := chunks{r: bufio.NewReader(one)}
	pixels := false
	for {
		kind, _, err := c.next()
		if err != nil {
			return err
		}
		if kind == "IEND" {
			break
		}
		data, err := c.read()
		if err != nil {
			return err
		}
		if kind == "IDAT" && !pixels {
			pixels = true
			if i == 0 {
				out = appendChunk(out, "acTL", binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(n)), 0))
			}
			out = appendChunk(out, "fcTL", control())
		}
		switch {
		case i == 0:
			out = appendChunk(out, kind, data)
		case kind == "IDAT":
			out = appendChunk(out, "fdAT", append(next(nil), data...))
		}
	}
	if !pixels {
		return sentence.Errorf("a frame has no pixels")
	}
	_, err := w.Write(out)
	return err
}

// normal converts a frame to the kind of picture that all frames can be.
func (s survey) normal(img image.Image) image.Image {
	switch img.(type) {
	case *image.Gray:
		if s.gray {
			return img
		}
	case *image.RGBA:
		if s.opaque {
			return img
		}
	case *image.NRGBA:
		if !s.opaque {
			return img
		}
	}
	r := image.Rectangle{Max: s.size}
	var m draw.Image = image.NewNRGBA(r)
	if s.opaque {
		m = image.NewRGBA(r)
	}
	draw.Draw(m, r, img, img.Bounds().Min, draw.Src)
	return m
}

// alike makes sure that image/png writes every frame with an alpha channel if one has it.
func (s survey) alike(img image.Image) image.Image {
	if m, ok := img.(*image.NRGBA); ok && !s.opaque && m.Opaque() {
		return withAlpha{m}
	}
	return img
}

type withAlpha struct{ *image.NRGBA }

func (withAlpha) Opaque() bool { return false }
