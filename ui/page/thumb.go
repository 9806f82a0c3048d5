package page

import (
	"image"

	"unnoise/app/studio"
)

// Thumb shows the small picture of a ref, whose longer side is to be of so many Fyne units: at once when it is in memory,
// else when it has been made. show is called on the UI thread, with nil when there is no picture. cancel keeps it from being called.
func (s *Services) Thumb(ref studio.Ref, units float32, show func(*image.RGBA)) (cancel func()) {
	if ref.Kind == studio.NoPicture {
		show(nil)
		return func() {}
	}
	px := int(units * s.Window.Canvas().Scale())
	if img := s.Studio.Thumbs.Cached(ref, px); img != nil {
		show(img)
		return func() {}
	}
	gone := false
	drop := s.Studio.Thumbs.Request(ref, px, func(img *image.RGBA, err error) {
		if s.ctx.Err() != nil {
			return
		}
		s.Post(func() {
			if gone {
				return
			}
			if err != nil {
				img = nil
			}
			show(img)
		})
	})
	return func() {
		gone = true
		drop()
	}
}

// Pending is the pictures that a page waits for; it gives them up when it is left.
type Pending []func()

// Add notes how to give a picture up.
func (p *Pending) Add(cancel func()) { *p = append(*p, cancel) }

// Stop gives up those that have not come.
func (p *Pending) Stop() {
	for _, cancel := range *p {
		cancel()
	}
	*p = nil
}
