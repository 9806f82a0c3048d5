// Package viewer shows pictures large: one to zoom and pan in, two to compare, many to scrub through.
package viewer

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
	xdraw "golang.org/x/image/draw"

	uitheme "unnoise/ui/theme"
)

// View is what part of a picture is seen: the zoom in device pixels to a picture pixel (0 fits the picture in), and
// the point of the picture at the middle, from 0 to 1 in each direction.
type View struct{ Zoom, X, Y float64 }

// Viewer shows one picture. The wheel zooms at the pointer, a drag pans, a double click goes between fitted and 1:1. Pixels
// stay crisp when enlarged. All methods belong to the UI thread.
type Viewer struct {
	widget.BaseWidget

	// OnView is called when the user zooms or pans, to move another viewer along.
	OnView func(View)
	// OnTapped is called for a single click, when set.
	OnTapped func()
	// Bare shows what is behind where the picture is transparent, without squares.
	Bare bool

	img    *image.RGBA
	opaque bool // all of img
	view   View
	raster *canvas.Raster
	buf    *image.RGBA
	cols   []int
}

// New returns an empty viewer.
func New() *Viewer {
	v := &Viewer{view: View{X: 0.5, Y: 0.5}}
	v.raster = canvas.NewRaster(v.draw)
	v.raster.ScaleMode = canvas.ImageScalePixels // it has the pixels of the screen
	v.ExtendBaseWidget(v)
	return v
}

// SetImage shows a picture, which is not written to; nil empties the viewer. The view stays.
func (v *Viewer) SetImage(img *image.RGBA) {
	v.img, v.opaque = img, img == nil || img.Opaque()
	v.raster.Refresh()
}

// Image is the picture shown.
func (v *Viewer) Image() *image.RGBA { return v.img }

// View is what is seen.
func (v *Viewer) View() View { return v.view }

// SetView changes it, without calling OnView.
func (v *Viewer) SetView(w View) {
	v.view = w
	v.raster.Refresh()
}

// Fit shows the whole picture.
func (v *Viewer) Fit() { v.change(View{X: 0.5, Y: 0.5}) }

// Actual shows one picture pixel as one device pixel.
func (v *Viewer) Actual() { v.change(View{Zoom: 1, X: v.view.X, Y: v.view.Y}) }

func (v *Viewer) change(w View) {
	v.SetView(w)
	if v.OnView != nil {
		v.OnView(w)
	}
}

// CreateRenderer builds the canvas objects.
func (v *Viewer) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(v.raster) }

// Refresh redraws the picture.
func (v *Viewer) Refresh() { v.raster.Refresh() }

// MinSize leaves room for a small picture.
func (v *Viewer) MinSize() fyne.Size {
	v.ExtendBaseWidget(v)
	return fyne.NewSize(96, 96)
}

// pixels returns the device pixels of the widget.
func (v *Viewer) pixels() (w, h int, scale float64) {
	scale = 1
	if c := fyne.CurrentApp().Driver().CanvasForObject(v); c != nil {
		scale = float64(c.Scale())
	}
	return int(float64(v.Size().Width) * scale), int(float64(v.Size().Height) * scale), scale
}

// zoom is the effective zoom for a widget of w×h device pixels: a fitted picture is enlarged by whole steps only.
func (v *Viewer) zoom(w, h int) float64 {
	if v.view.Zoom > 0 || v.img == nil {
		return v.view.Zoom
	}
	b := v.img.Bounds()
	z := math.Min(float64(w)/float64(b.Dx()), float64(h)/float64(b.Dy()))
	if z > 1 {
		z = math.Floor(z)
	}
	return z
}

// Scrolled zooms at the pointer.
func (v *Viewer) Scrolled(e *fyne.ScrollEvent) {
	if v.img == nil || e.Scrolled.DY == 0 {
		return
	}
	w, h, scale := v.pixels()
	if w <= 0 || h <= 0 {
		return
	}
	old := v.zoom(w, h)
	z := old * math.Pow(1.01, float64(e.Scrolled.DY))
	b := v.img.Bounds()
	lo := math.Min(0.5*math.Min(float64(w)/float64(b.Dx()), float64(h)/float64(b.Dy())), 1)
	z = math.Min(math.Max(z, lo), 256)
	// The point under the pointer stays where it is.
	dx, dy := float64(e.Position.X)*scale-float64(w)/2, float64(e.Position.Y)*scale-float64(h)/2
	x := v.view.X + dx/float64(b.Dx())*(1/old-1/z)
	y := v.view.Y + dy/float64(b.Dy())*(1/old-1/z)
	v.change(View{Zoom: z, X: clamp01(x), Y: clamp01(y)})
}

// Dragged pans.
func (v *Viewer) Dragged(e *fyne.DragEvent) {
	if v.img == nil {
		return
	}
	w, h, scale := v.pixels()
	z, b := v.zoom(w, h), v.img.Bounds()
	if z <= 0 {
		return
	}
	v.change(View{
		Zoom: z,
		X:    clamp01(v.view.X - float64(e.Dragged.DX)*scale/z/float64(b.Dx())),
		Y:    clamp01(v.view.Y - float64(e.Dragged.DY)*scale/z/float64(b.Dy())),
	})
}

// DragEnd ends a pan.
func (v *Viewer) DragEnd() {}

// Tapped calls OnTapped.
func (v *Viewer) Tapped(*fyne.PointEvent) {
	if v.OnTapped != nil {
		v.OnTapped()
	}
}

// DoubleTapped goes between fitted and 1:1.
func (v *Viewer) DoubleTapped(*fyne.PointEvent) {
	if v.view.Zoom == 0 {
		v.Actual()
	} else {
		v.Fit()
	}
}

// Cursor shows that the picture can be moved.
func (v *Viewer) Cursor() desktop.Cursor { return desktop.DefaultCursor }

func clamp01(x float64) float64 { return math.Min(math.Max(x, 0), 1) }

// checkerSize is the side of the squares under transparency, in device pixels.
const checkerSize = 10

// checker fills part of a picture with the squares that stand for transparency, in two shades of the theme.
func checker(dst *image.RGBA, part image.Rectangle) {
	var shades [2]color.RGBA
	for i, name := range []fyne.ThemeColorName{uitheme.ColorNameWell, theme.ColorNameInputBorder} {
		shades[i] = color.RGBAModel.Convert(uitheme.Color(name)).(color.RGBA)
	}
	seen := part.Intersect(dst.Rect)
	for y := seen.Min.Y; y < seen.Max.Y; y++ {
		for x := seen.Min.X; x < seen.Max.X; x++ {
			dst.SetRGBA(x, y, shades[((x-part.Min.X)/checkerSize+(y-part.Min.Y)/checkerSize)%2])
		}
	}
}

// place is where the picture lies, in device pixels.
func (v *Viewer) place(w, h int) image.Rectangle {
	z, b := v.zoom(w, h), v.img.Bounds()
	iw, ih := float64(b.Dx()), float64(b.Dy())
	left, top := math.Round(float64(w)/2-v.view.X*iw*z), math.Round(float64(h)/2-v.view.Y*ih*z)
	return image.Rect(int(left), int(top), int(left+math.Round(iw*z)), int(top+math.Round(ih*z)))
}

// draw paints the visible part at device pixels; its cost is that of the pixels seen, whatever the picture's size.
func (v *Viewer) draw(w, h int) image.Image {
	if w <= 0 || h <= 0 {
		return image.NewRGBA(image.Rect(0, 0, 1, 1))
	}
	if v.buf == nil || v.buf.Rect.Dx() != w || v.buf.Rect.Dy() != h {
		v.buf = image.NewRGBA(image.Rect(0, 0, w, h))
	}
	well := color.RGBAModel.Convert(uitheme.Color(uitheme.ColorNameWell)).(color.RGBA)
	draw.Draw(v.buf, v.buf.Rect, &image.Uniform{well}, image.Point{}, draw.Src)
	if v.img == nil || v.img.Rect.Empty() {
		return v.buf
	}
	z, b, dst := v.zoom(w, h), v.img.Bounds(), v.place(w, h)
	if !v.opaque && !v.Bare {
		checker(v.buf, dst)
	}
	if z < 1 {
		xdraw.ApproxBiLinear.Scale(v.buf, dst, v.img, b, draw.Over, nil)
		return v.buf
	}
	seen := dst.Intersect(v.buf.Rect)
	if seen.Empty() {
		return v.buf
	}
	v.cols = v.cols[:0]
	for x := seen.Min.X; x < seen.Max.X; x++ {
		v.cols = append(v.cols, 4*min(int((float64(x-dst.Min.X)+0.5)/z), b.Dx()-1))
	}
	last := -1
	for y := seen.Min.Y; y < seen.Max.Y; y++ {
		sy := min(int((float64(y-dst.Min.Y)+0.5)/z), b.Dy()-1)
		o := v.buf.PixOffset(seen.Min.X, y)
		row := v.buf.Pix[o : o+4*len(v.cols)]
		if sy == last && (v.opaque || (y-dst.Min.Y)%checkerSize != 0) {
			copy(row, v.buf.Pix[o-v.buf.Stride:])
			continue
		}
		last = sy
		src := v.img.Pix[v.img.PixOffset(b.Min.X, b.Min.Y+sy):]
		for i, sx := range v.cols {
			d, s := row[4*i:4*i+4:4*i+4], src[sx:sx+4:sx+4]
			if s[3] == 0xff {
				copy(d, s)
				continue
			}
			a := 255 - uint32(s[3])
			for k := range d {
				d[k] = uint8(uint32(s[k]) + (uint32(d[k])*a+127)/255)
			}
		}
	}
	return v.buf
}
