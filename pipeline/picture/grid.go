package picture

import (
	"context"
	"image"
	"image/color"
	"image/draw"
	"math"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"

	"unnoise/runtime/sentence"
)

// GridOptions say how a contact sheet looks. The zero value is a square grid without gaps on white.
type GridOptions struct {
	Columns    int         // 0: as square as possible
	Spacing    int         // pixels between and around the pictures
	Scale      int         // whole-number enlargement of each picture; 0 is 1
	Background color.Color // nil: white
	Labels     []string    // under each picture; nil for none. The built-in font covers Latin, Greek and Cyrillic
	// Font draws the letters that the built-in font has not; may be nil.
	Font *opentype.Font
}

const (
	labelSize   = 12 // pixels per em
	labelHeight = 16
)

// Check refuses a sheet of n pictures of w×h pixels that Grid would refuse: it can be told before they are drawn.
func (o GridOptions) Check(n, w, h int) error {
	_, _, err := o.layout(n, w, h)
	return err
}

// below is the room under each picture.
func (o GridOptions) below() int {
	if o.Labels != nil {
		return labelHeight
	}
	return 0
}

// layout is the sheet's number of columns and its size.
func (o GridOptions) layout(n, w, h int) (cols int, size image.Point, err error) {
	if o.Columns < 0 || o.Spacing < 0 || o.Scale < 0 {
		return 0, size, sentence.Errorf("a grid cannot have %d columns, spacing %d and scale %d", o.Columns, o.Spacing, o.Scale)
	}
	if cols = o.Columns; cols == 0 {
		cols = int(math.Ceil(math.Sqrt(float64(n))))
	}
	cols = min(cols, n)
	rows := (n + cols - 1) / cols
	// In float64, where nothing overflows.
	scale, gap := float64(max(o.Scale, 1)), float64(o.Spacing)
	fw := float64(cols)*(float64(w)*scale+gap) + gap
	fh := float64(rows)*(float64(h)*scale+float64(o.below())+gap) + gap
	if fw*fh > MaxPixels {
		if scale > 1 {
			return 0, size, sentence.Errorf("the grid would have %.0f × %.0f pixels, more than %d: enlarge the pictures less", fw, fh, MaxPixels)
		}
		return 0, size, sentence.Errorf("the grid would have %.0f × %.0f pixels, more than %d: use fewer pictures", fw, fh, MaxPixels)
	}
	return cols, image.Pt(int(fw), int(fh)), nil
}

// Grid draws the pictures left to right, top to bottom, each centred in a cell of the largest's size. They are asked
// for once, in order. The result is opaque if the background is.
func Grid(ctx context.Context, fr Frames, o GridOptions) (*image.RGBA, error) {
	if fr.N < 1 {
		return nil, errNoFrames
	}
	if o.Labels != nil && len(o.Labels) != fr.N {
		return nil, sentence.Errorf("there are %d labels for %d pictures", len(o.Labels), fr.N)
	}
	if err := o.Check(fr.N, 1, 1); err != nil {
		return nil, err
	}
	imgs := make([]image.Image, fr.N) // at their own size, the sheet itself is larger
	w, h := 1, 1
	for i := range imgs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		img, err := fr.At(i)
		if err != nil {
			return nil, sentence.Errorf("picture %d: %w", i+1, err)
		}
		imgs[i] = img
		w, h = max(w, img.Bounds().Dx()), max(h, img.Bounds().Dy())
	}
	cols, size, err := o.layout(fr.N, w, h)
	if err != nil {
		return nil, err
	}
	scale := max(o.Scale, 1)
	cw, ch := w*scale, h*scale
	below := o.below()
	sheet := image.NewRGBA(image.Rectangle{Max: size})
	bg := o.Background
	if bg == nil {
		bg = color.White
	}
	draw.Draw(sheet, sheet.Rect, image.NewUniform(bg), image.Point{}, draw.Src)
	var text *labeller
	if o.Labels != nil {
		if text, err = newLabeller(sheet, bg, o.Font); err != nil {
			return nil, err
		}
	}
	for i, img := range imgs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		big, err := Scale(img, scale)
		if err != nil {
			return nil, err
		}
		b := big.Bounds()
		x := o.Spacing + i%cols*(cw+o.Spacing)
		y := o.Spacing + i/cols*(ch+below+o.Spacing)
		at := image.Pt(x+(cw-b.Dx())/2, y+(ch-b.Dy())/2)
		draw.Draw(sheet, image.Rectangle{Min: at, Max: at.Add(b.Size())}, big, b.Min, draw.Over)
		if text != nil {
			text.draw(o.Labels[i], x, y+ch, cw)
		}
	}
	return sheet, nil
}

type labeller struct{ d font.Drawer }

func newLabeller(dst draw.Image, bg color.Color, other *opentype.Font) (*labeller, error) {
	f, err := builtin()
	if err != nil {
		return nil, sentence.Errorf("load the label font: %w", err)
	}
	options := &opentype.FaceOptions{Size: labelSize, DPI: 72, Hinting: font.HintingFull}
	face, err := opentype.NewFace(f, options)
	if err != nil {
		return nil, sentence.Errorf("load the label font: %w", err)
	}
	if other != nil {
		second, err := opentype.NewFace(other, options)
		if err != nil {
			return nil, sentence.Errorf("load the second label font: %w", err)
		}
		face = &faces{Face: face, font: f, second: second}
	}
	ink := color.Black
	if luma(bg) < 128 {
		ink = color.White
	}
	return &labeller{font.Drawer{Dst: dst, Src: image.NewUniform(ink), Face: face}}, nil
}

var builtin = sync.OnceValues(func() (*opentype.Font, error) { return opentype.Parse(goregular.TTF) })

// CanLabel says whether the built-in font has every letter of a label.
func CanLabel(label string) bool {
	f, err := builtin()
	return err == nil && !strings.ContainsFunc(label, func(r rune) bool { return !has(f, new(sfnt.Buffer), r) })
}

func has(f *opentype.Font, buf *sfnt.Buffer, r rune) bool {
	i, err := f.GlyphIndex(buf, r)
	return err == nil && i != 0
}

// faces draws with a second face what the font of the first has not.
type faces struct {
	font.Face
	font   *opentype.Font
	second font.Face
	buf    sfnt.Buffer
}

func (f *faces) of(r rune) font.Face {
	if has(f.font, &f.buf, r) {
		return f.Face
	}
	return f.second
}

// Glyph implements font.Face.
func (f *faces) Glyph(dot fixed.Point26_6, r rune) (image.Rectangle, image.Image, image.Point, fixed.Int26_6, bool) {
	return f.of(r).Glyph(dot, r)
}

// GlyphBounds implements font.Face.
func (f *faces) GlyphBounds(r rune) (fixed.Rectangle26_6, fixed.Int26_6, bool) {
	return f.of(r).GlyphBounds(r)
}

// GlyphAdvance implements font.Face.
func (f *faces) GlyphAdvance(r rune) (fixed.Int26_6, bool) { return f.of(r).GlyphAdvance(r) }

// Kern implements font.Face.
func (f *faces) Kern(a, b rune) fixed.Int26_6 {
	if g := f.of(a); g == f.of(b) {
		return g.Kern(a, b)
	}
	return 0
}

// draw centres s under a cell of width w whose lower left corner is (x, y), shortened until it fits.
func (l *labeller) draw(s string, x, y, w int) {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > w { // no letter is narrower than a pixel
		s = string(r[:w])
	}
	whole := s
	for l.d.MeasureString(s).Ceil() > w {
		whole = strings.TrimSuffix(whole, lastRune(whole))
		if whole == "" {
			return // not even one letter fits
		}
		s = whole + "…"
	}
	l.d.Dot = fixed.P(x, y+labelSize)
	l.d.Dot.X += (fixed.I(w) - l.d.MeasureString(s)) / 2
	l.d.DrawString(s)
}

func lastRune(s string) string {
	_, n := utf8.DecodeLastRuneInString(s)
	return s[len(s)-n:]
}
