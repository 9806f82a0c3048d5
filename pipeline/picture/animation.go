package picture

import (
	"bufio"
	"cmp"
	"context"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/soniakeys/quant/median"
	"golang.org/x/sync/errgroup"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// Animation says how frames are shown. Animations repeat for ever.
type Animation struct {
	Delay time.Duration // how long each frame is shown; GIF counts in hundredths of a second, the others in thousandths
	Hold  time.Duration // how much longer the last one is
	Scale int           // whole-number enlargement; 0 is 1
}

func (a Animation) delay(i, n int) time.Duration {
	if i == n-1 {
		return a.Delay + a.Hold
	}
	return a.Delay
}

// maxDelay is the longest time all three formats can show a frame: 16 bits of milliseconds.
const maxDelay = 65535 * time.Millisecond

// survey is what a first pass learns of the frames of an animation.
type survey struct {
	size   image.Point
	gray   bool // every frame is *image.Gray
	opaque bool // every pixel of every frame is
}

// look makes the first pass: visit, which may be nil, sees every frame.
func look(ctx context.Context, fr Frames, a Animation, visit func(image.Image)) (survey, error) {
	if fr.N < 1 {
		return survey{}, errNoFrames
	}
	if a.Delay < 0 || a.Hold < 0 || a.Delay > maxDelay || a.Hold > maxDelay-a.Delay {
		return survey{}, sentence.Errorf("a frame cannot be shown for %v", a.Delay+a.Hold)
	}
	s := survey{gray: true, opaque: true}
	for i := range fr.N {
		img, err := frame(ctx, fr, i)
		if err != nil {
			return survey{}, err
		}
		switch size := img.Bounds().Size(); {
		case i == 0:
			s.size = size
		case size != s.size:
			return survey{}, sentence.Errorf("frame %d has %v pixels and the first has %v: an animation needs one size", i+1, size, s.size)
		}
		if _, ok := img.(*image.Gray); !ok {
			s.gray = false
		}
		s.opaque = s.opaque && isOpaque(img)
		if visit != nil {
			visit(img)
		}
	}
	return s, nil
}

func frame(ctx context.Context, fr Frames, i int) (image.Image, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	img, err := fr.At(i)
	if err != nil {
		return nil, sentence.Errorf("frame %d: %w", i+1, err)
	}
	return img, nil
}

func isOpaque(img image.Image) bool {
	o, ok := img.(interface{ Opaque() bool })
	return ok && o.Opaque()
}

// maxSample bounds the pixels that a GIF's palette is made from.
const maxSample = 1 << 18

// WriteGIF writes an animated GIF, atomically and never in the place of something. All frames share one palette: their own colours where there are at most
// 256, else a median cut of a sample of all frames, with Floyd–Steinberg dithering. Pixels less than half opaque become
// transparent. The indexed frames are held in memory, a byte per pixel.
func WriteGIF(ctx context.Context, path string, fr Frames, a Animation) error {
	exact := map[color.RGBA]bool{}
	var sample []color.RGBA
	// With a step that is coprime to the usual widths no column is preferred.
	step, pos := 0, 0
	s, err := look(ctx, fr, a, func(img image.Image) {
		b := img.Bounds()
		if step == 0 {
			step = fr.N*b.Dx()*b.Dy()/maxSample | 1
		}
		m := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
		if !isOpaque(img) {
			img = opaqued{img}
		}
		draw.Draw(m, m.Rect, img, b.Min, draw.Src)
		if len(exact) <= 256 {
			for i := 0; i < len(m.Pix) && len(exact) <= 256; i += 4 {
				exact[color.RGBA{m.Pix[i], m.Pix[i+1], m.Pix[i+2], m.Pix[i+3]}] = true
			}
		}
		n := len(m.Pix) / 4
		for ; pos < n; pos += step {
			if m.Pix[4*pos+3] != 0 {
				sample = append(sample, color.RGBA{m.Pix[4*pos], m.Pix[4*pos+1], m.Pix[4*pos+2], 0xff})
			}
		}
		pos -= n
	})
	if err != nil {
		return sentence.Errorf("write GIF: %w", err)
	}
	pal, dither := choosePalette(exact, sample, s.opaque)
	scale := max(a.Scale, 1)
	if s.size.X > 65535/scale || s.size.Y > 65535/scale {
		return sentence.Errorf("write GIF: its frames would have %v times %d pixels, a GIF has at most 65535 a side", s.size, scale)
	}
	g := gif.GIF{
		Image: make([]*image.Paletted, fr.N), Delay: make([]int, fr.N), Disposal: make([]byte, fr.N),
		Config: image.Config{ColorModel: pal, Width: s.size.X * scale, Height: s.size.Y * scale},
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range fr.N {
		img, err := frame(gctx, fr, i)
		if err != nil {
			return sentence.Errorf("write GIF: %w", errOr(group.Wait(), err))
		}
		g.Delay[i] = int((a.delay(i, fr.N) + 5*time.Millisecond) / (10 * time.Millisecond))
		g.Disposal[i] = gif.DisposalNone
		if !s.opaque {
			g.Disposal[i] = gif.DisposalBackground
		}
		group.Go(func() error {
			m := image.NewPaletted(image.Rectangle{Max: s.size}, pal)
			var d draw.Drawer = draw.Src
			if dither {
				d = draw.FloydSteinberg
			}
			src := img
			if !s.opaque {
				src = opaqued{img}
			}
			d.Draw(m, m.Rect, src, img.Bounds().Min)
			big, err := Scale(m, scale)
			if err != nil {
				return err
			}
			g.Image[i] = big.(*image.Paletted)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return sentence.Errorf("write GIF: %w", err)
	}
	return writeNew(path, func(w io.Writer) error { return gif.EncodeAll(w, &g) })
}

// choosePalette chooses at most 256 colours, and says whether dithering is called for.
func choosePalette(exact map[color.RGBA]bool, sample []color.RGBA, opaque bool) (color.Palette, bool) {
	if len(exact) <= 256 {
		pal := make(color.Palette, 0, len(exact))
		for c := range exact {
			pal = append(pal, c)
		}
		slices.SortFunc(pal, func(a, b color.Color) int { // maps have no order, files must
			x, y := a.(color.RGBA), b.(color.RGBA)
			return cmp.Or(cmp.Compare(x.A, y.A), cmp.Compare(x.R, y.R), cmp.Compare(x.G, y.G), cmp.Compare(x.B, y.B))
		})
		return pal, false
	}
	pal := make(color.Palette, 0, 256)
	if !opaque {
		pal = append(pal, color.RGBA{})
	}
	// The quantiser takes a picture; the sample, row by row, is one.
	side := 1
	for side*side < len(sample) {
		side++
	}
	m := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := range side * side {
		c := sample[i%len(sample)]
		m.Pix[4*i], m.Pix[4*i+1], m.Pix[4*i+2], m.Pix[4*i+3] = c.R, c.G, c.B, c.A
	}
	return median.Quantizer(0).Quantize(pal, m), true
}

// opaqued shows an image with each pixel either opaque or wholly transparent.
type opaqued struct{ image.Image }

func (o opaqued) ColorModel() color.Model { return color.RGBAModel }

func (o opaqued) At(x, y int) color.Color {
	c := color.NRGBAModel.Convert(o.Image.At(x, y)).(color.NRGBA)
	if c.A < 0x80 {
		return color.RGBA{}
	}
	return color.RGBA{c.R, c.G, c.B, 0xff}
}

func errOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// writeNew is durable.WriteNew with fewer, larger writes.
func writeNew(path string, write func(io.Writer) error) error {
	return durable.WriteNew(path, func(w io.Writer) error {
		b := bufio.NewWriterSize(w, 1<<16)
		if err := write(b); err != nil {
			return err
		}
		return b.Flush()
	})
}
