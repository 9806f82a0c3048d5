package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/widget"
)

// Holder is a widget that is drawn by one object inside it.
type Holder interface{ Inside() fyne.CanvasObject }

// Show shows or hides objects, has what is around them laid out anew, and asks for a frame. Everything in the window that
// comes and goes goes through it: Show and Hide of Fyne's containers do neither, and an object that has never been painted
// does not know its canvas, so that its own Refresh asks for no frame. It must not be called within a layout.
func Show(on bool, objs ...fyne.CanvasObject) {
	for _, o := range objs {
		if o.Visible() == on {
			continue
		}
		if on {
			o.Show()
		} else {
			o.Hide()
		}
		Relayout(o)
	}
}

// Relayout lays out anew an object and what is around it, from the window in, and asks for a frame. It is for a container
// whose objects have changed; nothing happens while it is not in a window.
func Relayout(o fyne.CanvasObject) {
	for _, w := range fyne.CurrentApp().Driver().AllWindows() {
		c := w.Canvas()
		for _, root := range append(c.Overlays().List(), c.Content()) {
			path := pathTo(root, o)
			if path == nil {
				continue
			}
			for range 2 { // what is inside may need another size after it was laid out
				for _, p := range path {
					layOut(p)
				}
				settle(o)
			}
			c.Refresh(o)
			return
		}
	}
}

// settle lays out what is within an object: wrapped text knows its height only once it has a width.
func settle(o fyne.CanvasObject) {
	if c, ok := o.(*fyne.Container); ok {
		layOut(c)
	}
	for _, part := range inside(o) {
		settle(part)
	}
}

// pathTo lists the objects from root to o, both included; nil when o is not in root.
func pathTo(root, o fyne.CanvasObject) []fyne.CanvasObject {
	if root == nil {
		return nil
	}
	if root == o {
		return []fyne.CanvasObject{o}
	}
	for _, part := range inside(root) {
		if path := pathTo(part, o); path != nil {
			return append([]fyne.CanvasObject{root}, path...)
		}
	}
	return nil
}

// inside lists what an object holds, as far as that can be told.
func inside(o fyne.CanvasObject) []fyne.CanvasObject {
	switch o := o.(type) {
	case *fyne.Container:
		return o.Objects
	case Holder:
		if in := o.Inside(); in != nil {
			return []fyne.CanvasObject{in}
		}
	case *container.Scroll:
		return []fyne.CanvasObject{o.Content}
	case *container.Split:
		return []fyne.CanvasObject{o.Leading, o.Trailing}
	case *container.AppTabs:
		var out []fyne.CanvasObject
		for _, t := range o.Items {
			out = append(out, t.Content)
		}
		return out
	case *widget.Accordion:
		var out []fyne.CanvasObject
		for _, it := range o.Items {
			out = append(out, it.Detail)
		}
		return out
	case *widget.PopUp:
		return []fyne.CanvasObject{o.Content}
	}
	return nil
}

// layOut has an object place what it holds within its present size.
func layOut(o fyne.CanvasObject) {
	switch o := o.(type) {
	case *fyne.Container:
		if o.Layout != nil {
			o.Layout.Layout(o.Objects, o.Size())
		}
	case *widget.PopUp: // it follows what it holds by itself, and Resize would fix its size
	default:
		if len(inside(o)) > 0 {
			size := o.Size()
			o.Resize(size.AddWidthHeight(0, 1)) // a widget lays out only at another size
			o.Resize(size)
		}
	}
}
