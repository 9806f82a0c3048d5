package studio

import (
	"context"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"math"

	"unnoise/app/thumbs"
	"unnoise/pipeline/picture"
	"unnoise/pipeline/train"
)

// maxClassColumns is the most classes that a sheet on show has columns for: with more, the pictures would be tiny.
const maxClassColumns = 16

// sheetColumns is how many columns a sheet of n samples has on show: about as many as rows, and, where the samples go
// through a few classes in turn, so many that each column is of one class.
func sheetColumns(n, classes int) int {
	root := math.Sqrt(float64(n))
	if classes < 2 || classes > min(n, maxClassColumns) {
		return int(math.Ceil(root))
	}
	// How far from square it is; of two as far, the wider one suits the places where sheets are shown.
	oblong := func(cols int) float64 {
		rows := (n + cols - 1) / cols
		return float64(max(cols, rows)) / float64(min(cols, rows))
	}
	cols := max(1, int(root)/classes) * classes
	if more := cols + classes; more <= n && oblong(more) <= oblong(cols) {
		return more
	}
	return cols
}

// columnClasses names the class of each column, and nothing where a column has many.
func columnClasses(n int, classes []string) []string {
	cols := sheetColumns(n, len(classes))
	if len(classes) < 2 || cols%len(classes) != 0 {
		return nil
	}
	var out []string
	for i := range cols {
		out = append(out, classes[i%len(classes)])
	}
	return out
}

// sheet reads a sheet of samples as the window shows it: nothing between the pictures, so that what is behind shows in the
// theme's colour, and the classes in columns. A file that is not laid out as the training does is shown as it is.
func (l loader) sheet(ctx context.Context, ref Ref, path string) (image.Image, error) {
	img, err := picture.Read(path)
	if err != nil {
		return nil, err
	}
	m, err := picture.ReadMeta(path)
	if err != nil {
		if errors.Is(err, picture.ErrNoMeta) {
			err = nil
		}
		return img, err
	}
	classes := 0
	if run, err := l.openRun(ref.Owner); err == nil {
		classes = len(run.Info().Model.Classes)
	}
	return laidOut(ctx, img, m, classes)
}

// laidOut puts the pictures of a sheet as they are on show.
func laidOut(ctx context.Context, img image.Image, m picture.Meta, classes int) (image.Image, error) {
	const gap = train.GridSpacing
	size := img.Bounds().Size()
	// Within these bounds nothing overflows.
	if m.Count < 1 || m.Count > size.X*size.Y || m.Width < 1 || m.Width > size.X || m.Height < 1 || m.Height > size.Y {
		return img, nil
	}
	cols := sheetColumns(m.Count, 0)
	rows := (m.Count + cols - 1) / cols
	if size != image.Pt(cols*(m.Width+gap)+gap, rows*(m.Height+gap)+gap) {
		return img, nil
	}
	whole := thumbs.ToRGBA(img)
	return picture.Grid(ctx, picture.Frames{N: m.Count, At: func(i int) (image.Image, error) {
		at := image.Pt(gap+i%cols*(m.Width+gap), gap+i/cols*(m.Height+gap))
		return whole.SubImage(image.Rectangle{Min: at, Max: at.Add(image.Pt(m.Width, m.Height))}), nil
	}}, picture.GridOptions{Columns: sheetColumns(m.Count, classes), Spacing: gap, Background: color.Transparent})
}

// thumbLoader finds pictures for the thumbnails: as the window shows them, with squares under what is transparent.
type thumbLoader struct{ loader }

// Load implements thumbs.Loader.
func (l thumbLoader) Load(ctx context.Context, ref Ref) (image.Image, error) {
	img, err := l.shown(ctx, ref)
	if err == nil && (ref.Kind == DatasetItem || ref.Kind == GalleryImage) {
		img = checkered(img)
	}
	return img, err
}

// Stamp implements thumbs.Loader: the names of thumbnails that are made in another way than before are others.
func (l thumbLoader) Stamp(ref Ref) string {
	if s := l.loader.Stamp(ref); s != "" {
		return "shown/" + s
	}
	return ""
}

const (
	// largestThumb is a size that no thumbnail exceeds, on any screen.
	largestThumb = 1024
	// squaresAcross is how many of the squares for transparency lie along a thumbnail's longer side.
	squaresAcross = 12
)

// checkered puts squares under a picture that is transparent anywhere. Every other square is left out and the rest are a
// gray that lets some light through, so that they suit whatever colour is behind.
func checkered(img image.Image) image.Image {
	if o, ok := img.(interface{ Opaque() bool }); !ok || o.Opaque() {
		return img
	}
	b := img.Bounds()
	if max(b.Dx(), b.Dy()) > largestThumb {
		img = thumbs.Scale(img, largestThumb)
		b = img.Bounds()
	}
	out := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	side := (max(b.Dx(), b.Dy()) + squaresAcross - 1) / squaresAcross
	square := image.NewUniform(color.NRGBA{R: 0x80, G: 0x80, B: 0x80, A: 0x60})
	for y := 0; y < b.Dy(); y += side {
		for x := y / side % 2 * side; x < b.Dx(); x += 2 * side {
			draw.Draw(out, image.Rect(x, y, x+side, y+side), square, image.Point{}, draw.Src)
		}
	}
	draw.Draw(out, out.Rect, img, b.Min, draw.Over)
	return out
}
