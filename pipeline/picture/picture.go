// Package picture turns a model's numbers into pictures and pictures into files: PNGs that carry their own provenance,
// grids, animations (GIF, APNG, WebP) and zip archives. Every file is written atomically.
//
// A model's picture is float32 in channel-height-width order (CHW), nominally in [-1,1], with 1 (gray), 3 (RGB) or
// 4 (RGB and straight, not premultiplied, alpha) channels.
package picture

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// MaxPixels is the largest picture read or drawn, in pixels: 16,384 by 8,192, half a gigabyte as RGBA.
const MaxPixels = 1 << 27

// FromCHW draws c×h×w values as *image.Gray, *image.RGBA (opaque) or *image.NRGBA for c = 1, 3, 4. A value x becomes
// round(255·clamp(x/2 + 1/2, 0, 1)), halves to even, as in diffusers' VaeImageProcessor.denormalize and numpy_to_pil.
// Values that are not finite are an error.
func FromCHW(x []float32, c, h, w int) (image.Image, error) {
	if err := checkCHW(len(x), c, h, w); err != nil {
		return nil, err
	}
	n := h * w
	var img image.Image
	var pix []uint8
	stride := 4
	switch r := image.Rect(0, 0, w, h); c {
	case 1:
		m := image.NewGray(r)
		img, pix, stride = m, m.Pix, 1
	case 3:
		m := image.NewRGBA(r)
		for i := 3; i < len(m.Pix); i += 4 {
			m.Pix[i] = 0xff
		}
		img, pix = m, m.Pix
	default:
		m := image.NewNRGBA(r)
		img, pix = m, m.Pix
	}
	for k := range c {
		for i, v := range x[k*n : (k+1)*n] {
			if v-v != 0 { // NaN or ±Inf
				return nil, sentence.Errorf("the picture's value %d is %v: the model has diverged", k*n+i, v)
			}
			pix[i*stride+k] = toByte(v)
		}
	}
	return img, nil
}

func toByte(v float32) uint8 {
	return uint8(math.RoundToEven(float64(min(max(v/2+0.5, 0), 1) * 255)))
}

// ToCHW is FromCHW's inverse for a picture of any kind: it fills dst (c×h×w of the picture's own height and width) with
// byte/127.5 - 1. Colour becomes gray by Rec. 601 luma (image/color's), and for c = 1 or 3 a transparent picture is laid
// over black.
func ToCHW(dst []float32, img image.Image, c int) error {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	if err := checkCHW(len(dst), c, h, w); err != nil {
		return err
	}
	n, r := w*h, image.Rect(0, 0, w, h)
	var m draw.Image
	switch c {
	case 1:
		m = image.NewGray(r)
	case 3:
		m = image.NewRGBA(r)
	default:
		m = image.NewNRGBA(r)
	}
	draw.Draw(m, r, img, b.Min, draw.Src)
	pix, stride, _ := pixels(m)
	for k := range c {
		for i := range n {
			dst[k*n+i] = float32(pix[i*stride+k])/127.5 - 1
		}
	}
	return nil
}

func checkCHW(n, c, h, w int) error {
	if c != 1 && c != 3 && c != 4 {
		return sentence.Errorf("a picture has 1, 3 or 4 channels, not %d", c)
	}
	if h < 1 || w < 1 || h > MaxPixels/w {
		return sentence.Errorf("a picture cannot be %d × %d", w, h)
	}
	if n != c*h*w {
		return sentence.Errorf("%d values cannot be a %d × %d picture of %d channels", n, w, h, c)
	}
	return nil
}

// pixels returns the bytes of an image of one of the kinds that this package draws itself, bytes per pixel and row
// stride; nil for other kinds.
func pixels(img image.Image) (pix []uint8, bytes, stride int) {
	switch m := img.(type) {
	case *image.Gray:
		return m.Pix, 1, m.Stride
	case *image.Paletted:
		return m.Pix, 1, m.Stride
	case *image.RGBA:
		return m.Pix, 4, m.Stride
	case *image.NRGBA:
		return m.Pix, 4, m.Stride
	}
	return nil, 0, 0
}

// like makes an image of the same kind as img, or NRGBA where that kind is not one of this package's.
func like(img image.Image, r image.Rectangle) draw.Image {
	switch m := img.(type) {
	case *image.Gray:
		return image.NewGray(r)
	case *image.Paletted:
		return image.NewPaletted(r, m.Palette)
	case *image.RGBA:
		return image.NewRGBA(r)
	}
	return image.NewNRGBA(r)
}

// Scale enlarges a picture by a whole factor, each pixel becoming a square, so that small pictures stay crisp. The kind
// of picture is kept. A factor of 1 or less returns img itself.
func Scale(img image.Image, factor int) (image.Image, error) {
	if factor <= 1 {
		return img, nil
	}
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	if w < 1 || h < 1 || factor > MaxPixels || w*factor > MaxPixels/factor/h {
		return nil, sentence.Errorf("a %d × %d picture cannot be enlarged %d times: the limit is %d pixels", w, h, factor, MaxPixels)
	}
	if _, bytes, _ := pixels(img); bytes == 0 {
		m := image.NewNRGBA(image.Rect(0, 0, w, h))
		draw.Draw(m, m.Rect, img, b.Min, draw.Src)
		img, b = m, m.Rect
	}
	out := like(img, image.Rect(0, 0, w*factor, h*factor))
	src, bytes, stride := pixels(img)
	dst, _, dstStride := pixels(out)
	if p, ok := img.(interface{ PixOffset(x, y int) int }); ok {
		src = src[p.PixOffset(b.Min.X, b.Min.Y):]
	}
	for y := range h {
		row := dst[y*factor*dstStride : y*factor*dstStride+w*factor*bytes]
		for x := range w {
			px := src[y*stride+x*bytes : y*stride+(x+1)*bytes]
			for k := range factor {
				copy(row[(x*factor+k)*bytes:], px)
			}
		}
		for k := 1; k < factor; k++ {
			copy(dst[(y*factor+k)*dstStride:], row)
		}
	}
	return out, nil
}

// Read reads a PNG of at most MaxPixels.
func Read(path string) (image.Image, error) {
	f, err := durable.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	cfg, err := png.DecodeConfig(f)
	if err == nil && (cfg.Width < 1 || cfg.Height < 1 || cfg.Height > MaxPixels/cfg.Width) {
		err = sentence.Errorf("it claims %d × %d pixels, more than %d", cfg.Width, cfg.Height, MaxPixels)
	}
	if err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		return nil, sentence.Errorf("read picture %s: %w", path, err)
	}
	img, err := png.Decode(f)
	if err != nil {
		return nil, sentence.Errorf("read picture %s: %w", path, err)
	}
	return img, nil
}

// Frames is a sequence of pictures, drawn one at a time so that a long one need not be held in memory. Some formats
// need two passes: At must give the same picture each time.
type Frames struct {
	N  int
	At func(i int) (image.Image, error)
}

// FramesOf is the sequence of these pictures.
func FramesOf(imgs []image.Image) Frames {
	return Frames{N: len(imgs), At: func(i int) (image.Image, error) { return imgs[i], nil }}
}

var errNoFrames = sentence.Errorf("there are no pictures to write")

func luma(c color.Color) uint8 { return color.GrayModel.Convert(c).(color.Gray).Y }
