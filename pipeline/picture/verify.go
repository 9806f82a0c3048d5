package picture

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// ErrChanged says that a picture's pixels are not those that were written.
var ErrChanged = sentence.Errorf("its pixels are not those that were written")

// Digest is the SHA-256, in hexadecimal, of a picture's width and height (as big-endian uint32) and its pixels, row by row,
// as bytes of straight RGBA. It is of the pixels and not of the file, so it outlives a program that compresses the file
// better; the checksums of PNG's own chunks guard the rest.
func Digest(img image.Image) string {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	sum := sha256.New()
	var size [8]byte
	binary.BigEndian.PutUint32(size[:], uint32(w))
	binary.BigEndian.PutUint32(size[4:], uint32(h))
	_, _ = sum.Write(size[:]) // a hash never fails
	row := make([]byte, 4*w)
	for y := range h {
		switch m := img.(type) {
		case *image.NRGBA:
			at := m.PixOffset(b.Min.X, b.Min.Y+y)
			copy(row, m.Pix[at:at+4*w])
		case *image.Gray:
			at := m.PixOffset(b.Min.X, b.Min.Y+y)
			for x, v := range m.Pix[at : at+w] {
				row[4*x], row[4*x+1], row[4*x+2], row[4*x+3] = v, v, v, 0xff
			}
		default: // as image/png converts what it writes
			for x := range w {
				c, _ := color.NRGBAModel.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA)
				row[4*x], row[4*x+1], row[4*x+2], row[4*x+3] = c.R, c.G, c.B, c.A
			}
		}
		_, _ = sum.Write(row)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Verify decodes a PNG in full and compares its pixels with the hash that its metadata holds. One without a hash, as older
// versions wrote them, is sound when it can be decoded; Meta.Pixels is empty then. The error is ErrNoMeta for a sound
// picture without Unnoise's metadata, and wraps ErrChanged for one whose pixels are others: it was edited, or is damaged.
func Verify(path string) (Meta, error) {
	f, err := durable.Open(path)
	if err != nil {
		return Meta{}, err
	}
	defer func() { _ = f.Close() }()
	m, err := verify(f)
	if err != nil && !errors.Is(err, ErrNoMeta) {
		err = sentence.Errorf("the picture %s cannot be relied on: %w", path, err)
	}
	return m, err
}

func verify(r io.ReadSeeker) (Meta, error) {
	cfg, err := png.DecodeConfig(bufio.NewReader(r))
	if err == nil && (cfg.Width < 1 || cfg.Height < 1 || cfg.Height > MaxPixels/cfg.Width) {
		err = sentence.Errorf("it claims %d × %d pixels, more than %d", cfg.Width, cfg.Height, MaxPixels)
	}
	if err != nil {
		return Meta{}, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return Meta{}, err
	}
	img, err := png.Decode(bufio.NewReader(r))
	if err != nil {
		return Meta{}, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return Meta{}, err
	}
	m, err := DecodeMeta(r)
	if err != nil {
		return Meta{}, err
	}
	if m.Pixels != "" && m.Pixels != Digest(img) {
		return m, ErrChanged
	}
	return m, nil
}
