package data

import (
	"image"
	"image/color"
	"math/rand/v2"

	"github.com/disintegration/imaging"

	"unnoise/pipeline/rng"
	"unnoise/runtime/sentence"
)

// How a picture is brought to the training size.
const (
	Crop    = "crop"    // fill the size and cut off what stands out, keeping the centre; the default
	Fit     = "fit"     // keep all of it and fill the rest with its edge, or with nothing where it is transparent
	Stretch = "stretch" // change the proportions
)

// How its pixels are found at another size.
const (
	Smooth  = "smooth"  // averaged, as suits photographs; small pictures that grow by a whole factor keep their pixels; the default
	Nearest = "nearest" // taken from the nearest one, so that hard edges and few colours stay: for pixel art
)

const (
	black = "black"
	white = "white"
)

// maxSide bounds the training size.
const maxSide = 2048

// Preprocess says how pictures become what the network sees.
type Preprocess struct {
	Width    int    `json:"width"`
	Height   int    `json:"height"`
	Channels int    `json:"channels"`         // 1 gray, 3 colour, 4 colour and alpha (not premultiplied; black where fully transparent)
	Fit      string `json:"fit"`              // "crop" (also ""), "fit" or "stretch"
	Resize   string `json:"resize,omitempty"` // "smooth" (also "") or "nearest"
	Flip     bool   `json:"flip"`             // flip at random left to right: for pictures whose mirror image is as good
	Augment  bool   `json:"augment"`          // show turned and mirrored copies too, and tell the network which is which
	// Background is what transparent pictures lie on with 1 or 3 channels: "black", "white", or "" for what the scan
	// recommends (Report.Background).
	Background string `json:"background,omitempty"`
}

// Validate checks the fields.
func (pp Preprocess) Validate() error {
	switch {
	case pp.Width < 1 || pp.Height < 1 || pp.Width > maxSide || pp.Height > maxSide:
		return sentence.Errorf("a training size of %d × %d is out of bounds: choose 1 to %d", pp.Width, pp.Height, maxSide)
	case pp.Channels != 1 && pp.Channels != 3 && pp.Channels != 4:
		return sentence.Errorf("%d channels are not possible: choose 1 (gray), 3 (colour) or 4 (colour and transparency)", pp.Channels)
	case pp.Fit != "" && pp.Fit != Crop && pp.Fit != Fit && pp.Fit != Stretch:
		return sentence.Errorf("fit %q is unknown: choose crop, fit or stretch", pp.Fit)
	case pp.Resize != "" && pp.Resize != Smooth && pp.Resize != Nearest:
		return sentence.Errorf("resize %q is unknown: choose smooth or nearest", pp.Resize)
	case pp.Background != "" && pp.Background != black && pp.Background != white:
		return sentence.Errorf("background %q is unknown: choose black or white", pp.Background)
	}
	return nil
}

// Dim is the number of values of one picture: channels × height × width.
func (pp Preprocess) Dim() int { return pp.Channels * pp.Width * pp.Height }

// Transforms is how many copies of a picture the augmentation distinguishes: 1 without it, else the 8 symmetries of the
// square, or the 4 of a rectangle. Transform 0 leaves the picture as it is.
func (pp Preprocess) Transforms() int {
	switch {
	case !pp.Augment:
		return 1
	case pp.Width == pp.Height:
		return 8
	}
	return 4
}

// render brings a picture to the training size.
func (pp Preprocess) render(img image.Image) *image.NRGBA {
	src := to8(img)
	sw, sh := src.Bounds().Dx(), src.Bounds().Dy()
	w, h := pp.Width, pp.Height
	switch pp.Fit {
	case Stretch:
		return pp.resize(src, w, h)
	case Fit:
		if w*sh <= h*sw { // width binds
			h = max(1, (sh*w+sw/2)/sw)
		} else {
			w = max(1, (sw*h+sh/2)/sh)
		}
		return pad(pp.resize(src, w, h), pp.Width, pp.Height)
	default:
		if w*sh >= h*sw {
			h = max(h, (sh*w+sw/2)/sw)
		} else {
			w = max(w, (sw*h+sh/2)/sh)
		}
		if w > 4*maxSide || h > 4*maxSide { // a very long picture: cut it first, or its enlargement fills the memory
			filter := imaging.Lanczos
			if pp.Resize == Nearest {
				filter = imaging.NearestNeighbor
			}
			return imaging.Fill(src, pp.Width, pp.Height, imaging.Center, filter)
		}
		return imaging.CropCenter(pp.resize(src, w, h), pp.Width, pp.Height)
	}
}

// resize keeps the hard pixels where it is asked to, and those of small pictures that grow by a whole factor; all else is
// resampled with Lanczos.
func (pp Preprocess) resize(img image.Image, w, h int) *image.NRGBA {
	if pp.Resize == Nearest {
		return imaging.Resize(img, w, h, imaging.NearestNeighbor)
	}
	const small = 128
	if sw, sh := img.Bounds().Dx(), img.Bounds().Dy(); sw <= small && sh <= small && w%sw == 0 && h%sh == 0 {
		return imaging.Resize(img, w, h, imaging.NearestNeighbor)
	}
	return imaging.Resize(shrink(img, w, h), w, h, imaging.Lanczos)
}

// shrink averages a picture that is very much larger than w × h down to four times that: what a resampling filter then makes
// of it looks the same, and a photograph takes a fraction of the time.
func shrink(img image.Image, w, h int) image.Image {
	const near = 4
	if b := img.Bounds(); b.Dx() < 2*near*w || b.Dy() < 2*near*h {
		return img
	}
	return imaging.Resize(img, near*w, near*h, imaging.Box)
}

// pad centres a picture on a larger canvas. What is around it repeats its edge, unless the edge is transparent somewhere:
// then there is nothing around it.
func pad(img *image.NRGBA, w, h int) *image.NRGBA {
	sw, sh := img.Rect.Dx(), img.Rect.Dy()
	if sw == w && sh == h {
		return img
	}
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	x0, y0 := (w-sw)/2, (h-sh)/2
	repeat := img.Opaque()
	for y := range h {
		for x := range w {
			sx, sy := x-x0, y-y0
			if sx < 0 || sy < 0 || sx >= sw || sy >= sh {
				if !repeat {
					continue
				}
				sx, sy = min(max(sx, 0), sw-1), min(max(sy, 0), sh-1)
			}
			copy(out.Pix[out.PixOffset(x, y):][:4], img.Pix[img.PixOffset(sx, sy):][:4])
		}
	}
	return out
}

// planes writes a rendered picture as channels × height × width bytes.
func (pp Preprocess) planes(dst []byte, img *image.NRGBA) {
	area := pp.Width * pp.Height
	under := 0
	if pp.Background == white {
		under = 255
	}
	for i := range area {
		p := img.Pix[4*i : 4*i+4]
		a := int(p[3])
		var rgb [3]int
		for c := range rgb {
			switch {
			case pp.Channels != 4:
				rgb[c] = (int(p[c])*a + under*(255-a) + 127) / 255
			case a > 0: // what lies under full transparency is nothing to learn from
				rgb[c] = int(p[c])
			}
		}
		switch pp.Channels {
		case 1:
			dst[i] = uint8((299*rgb[0] + 587*rgb[1] + 114*rgb[2] + 500) / 1000)
		default:
			for c, v := range rgb {
				dst[c*area+i] = uint8(v)
			}
			if pp.Channels == 4 {
				dst[3*area+i] = uint8(a)
			}
		}
	}
}

// toImage turns channels × height × width bytes back into a picture.
func (pp Preprocess) toImage(b []byte) image.Image {
	area := pp.Width * pp.Height
	if pp.Channels == 1 {
		img := image.NewGray(image.Rect(0, 0, pp.Width, pp.Height))
		copy(img.Pix, b)
		return img
	}
	img := image.NewNRGBA(image.Rect(0, 0, pp.Width, pp.Height))
	for i := range area {
		c := color.NRGBA{R: b[i], G: b[area+i], B: b[2*area+i], A: 255}
		if pp.Channels == 4 {
			c.A = b[3*area+i]
		}
		img.SetNRGBA(i%pp.Width, i/pp.Width, c)
	}
	return img
}

// view is one random way of showing a picture: a flip that the network isn't told about and a transform that it is.
type view struct {
	flip      bool
	transform int
}

// draw chooses a view. With augmentation half of the draws are the picture as it is, the only kind that is sampled later;
// the other half is spread over the other transforms.
func (pp Preprocess) draw(r *rand.Rand) (v view) {
	v.flip = pp.Flip && r.Uint64()&1 == 1
	if a := pp.Transforms(); a > 1 && r.Uint64()&1 == 1 {
		v.transform = 1 + r.IntN(a-1)
	}
	return v
}

// strides gives the place in the plane that output pixel (x, y) is read from: base + x·dx + y·dy. The transform's bits are 1: flip
// left to right, 2: flip top to bottom, 4: exchange x and y (squares only).
func (v view) strides(w, h int) (base, dx, dy int) {
	at := func(x, y int) int {
		if v.transform&1 != 0 {
			x = w - 1 - x
		}
		if v.transform&2 != 0 {
			y = h - 1 - y
		}
		if v.transform&4 != 0 {
			x, y = y, x
		}
		if v.flip {
			x = w - 1 - x
		}
		return y*w + x
	}
	base = at(0, 0)
	return base, at(1, 0) - base, at(0, 1) - base
}

// View is a picture as the network would see it, and what was done to it besides bringing it to size and channels.
type View struct {
	Image     image.Image
	Flipped   bool // mirrored left to right at random, which the network isn't told
	Transform int  // below [Preprocess.Transforms]; its bits are 1: flip left to right, 2: flip top to bottom, 4: exchange x and y
}

// Preview returns the k-th random view of a picture that the network would see with these settings.
func Preview(img image.Image, pp Preprocess, seed, k uint64) (View, error) {
	if err := pp.Validate(); err != nil {
		return View{}, err
	}
	src, dst := make([]byte, pp.Dim()), make([]byte, pp.Dim())
	pp.planes(src, pp.render(img))
	v := pp.draw(rng.New(seed, viewStream, k))
	base, dx, dy := v.strides(pp.Width, pp.Height)
	area := pp.Width * pp.Height
	for c := range pp.Channels {
		for y := range pp.Height {
			for x := range pp.Width {
				dst[c*area+y*pp.Width+x] = src[c*area+base+x*dx+y*dy]
			}
		}
	}
	return View{Image: pp.toImage(dst), Flipped: v.flip, Transform: v.transform}, nil
}
