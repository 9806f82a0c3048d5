package viewer

import (
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/ui/kit"
)

// Scrubber is a slider through a number of frames, with a button that plays them. All methods belong to the UI thread.
type Scrubber struct {
	widget.BaseWidget
	// OnChange is called with the frame to show.
	OnChange func(i int)
	// Post hands a function to the UI thread: fyne.Do, save in tests.
	Post func(func())
	// Caption names frame i, at the right.
	Caption func(i int) string

	n      int
	slider *kit.Slider
	play   *widget.Button
	text   *widget.Label
	root   *fyne.Container
	stop   chan struct{}
	quiet  bool
}

// framesPerSecond is the speed of playing.
const framesPerSecond = 8

// NewScrubber returns a scrubber with no frames.
func NewScrubber(onChange func(int)) *Scrubber {
	s := &Scrubber{OnChange: onChange, Post: fyne.Do}
	s.slider = kit.NewSlider(0, 1)
	s.slider.Step = 1
	s.slider.OnChanged = func(v float64) {
		s.caption()
		if !s.quiet && s.OnChange != nil && s.n > 0 {
			s.OnChange(int(v))
		}
	}
	s.play = widget.NewButtonWithIcon("", theme.MediaPlayIcon(), s.Toggle)
	s.play.Importance = widget.LowImportance
	s.text = widget.NewLabel("")
	s.root = container.NewBorder(nil, nil, s.play, s.text, s.slider)
	s.ExtendBaseWidget(s)
	s.SetCount(0)
	return s
}

// CreateRenderer builds the canvas objects.
func (s *Scrubber) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(s.root) }

// Inside implements kit.Holder.
func (s *Scrubber) Inside() fyne.CanvasObject { return s.root }

// SetCount sets how many frames there are. A scrubber that was at the last frame stays at the last one and follows.
func (s *Scrubber) SetCount(n int) {
	follow := s.n == 0 || s.Index() >= s.n-1
	s.n = n
	s.slider.Max = float64(max(n-1, 1))
	kit.Show(n >= 2, s.play, s.slider)
	if follow || s.Index() >= n {
		s.Set(n - 1)
	}
	s.slider.Refresh()
	s.caption()
}

// Count is the number of frames.
func (s *Scrubber) Count() int { return s.n }

// Index is the frame shown.
func (s *Scrubber) Index() int { return int(s.slider.Value) }

// Set shows a frame and calls OnChange.
func (s *Scrubber) Set(i int) {
	i = min(max(i, 0), max(s.n-1, 0))
	s.quiet = true
	s.slider.SetValue(float64(i))
	s.quiet = false
	s.caption()
	if s.OnChange != nil && s.n > 0 {
		s.OnChange(i)
	}
}

func (s *Scrubber) caption() {
	switch {
	case s.n == 0:
		s.text.SetText("")
	case s.Caption != nil:
		s.text.SetText(s.Caption(s.Index()))
	}
}

// Playing tells whether frames go by.
func (s *Scrubber) Playing() bool { return s.stop != nil }

// Toggle plays from here (from the start when at the end), or stops.
func (s *Scrubber) Toggle() {
	if s.stop != nil {
		s.Stop()
		return
	}
	if s.n < 2 {
		return
	}
	if s.Index() >= s.n-1 {
		s.Set(0)
	}
	s.play.SetIcon(theme.MediaPauseIcon())
	stop := make(chan struct{})
	s.stop = stop
	post := s.Post
	go func() {
		t := time.NewTicker(time.Second / framesPerSecond)
		defer t.Stop()
		free := make(chan struct{}, 1) // a frame is skipped while the one before has not been shown
		free <- struct{}{}
		for {
			select {
			case <-stop:
				return
			case <-t.C:
			}
			select {
			case <-free:
				post(func() {
					s.advance(stop)
					free <- struct{}{}
				})
			default:
			}
		}
	}()
}

// advance shows the next frame, unless playing has been stopped since.
func (s *Scrubber) advance(stop chan struct{}) {
	switch {
	case s.stop != stop:
	case s.Index() >= s.n-1:
		s.Stop()
	default:
		s.Set(s.Index() + 1)
	}
}

// Stop stops playing; call it when the scrubber leaves the screen.
func (s *Scrubber) Stop() {
	if s.stop != nil {
		close(s.stop)
		s.stop = nil
		s.play.SetIcon(theme.MediaPlayIcon())
	}
}
