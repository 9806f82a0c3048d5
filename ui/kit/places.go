package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
)

// Place is where something lies in the window.
type Place struct {
	Pos  fyne.Position
	Size fyne.Size
}

// Overlaps says whether something at a position, so large, covers a part of it.
func (p Place) Overlaps(at fyne.Position, size fyne.Size) bool {
	return at.X < p.Pos.X+p.Size.Width && p.Pos.X < at.X+size.Width && at.Y < p.Pos.Y+p.Size.Height && p.Pos.Y < at.Y+size.Height
}

// Controls lists where the controls on show within an object are that take the keyboard, save those in except. Lists and
// pictures that can be clicked are none: they are as large as a page.
func Controls(o, except fyne.CanvasObject) []Place {
	return controls(o, except, fyne.Position{}, Place{Size: fyne.NewSize(1e6, 1e6)}, nil)
}

func controls(o, except fyne.CanvasObject, at fyne.Position, seen Place, out []Place) []Place {
	if o == nil || o == except || !o.Visible() {
		return out
	}
	at = at.Add(o.Position())
	here := Place{at, o.Size()}
	if !here.Overlaps(seen.Pos, seen.Size) {
		return out
	}
	switch o.(type) {
	case *List, *TapCard:
	case fyne.Focusable:
		return append(out, here)
	}
	if _, ok := o.(*container.Scroll); ok {
		seen = here.within(seen)
	}
	for _, part := range inside(o) {
		out = controls(part, except, at, seen, out)
	}
	return out
}

// within is the part of a place that lies in another.
func (p Place) within(o Place) Place {
	x, y := max(p.Pos.X, o.Pos.X), max(p.Pos.Y, o.Pos.Y)
	return Place{fyne.NewPos(x, y), fyne.NewSize(
		max(0, min(p.Pos.X+p.Size.Width, o.Pos.X+o.Size.Width)-x), max(0, min(p.Pos.Y+p.Size.Height, o.Pos.Y+o.Size.Height)-y))}
}
