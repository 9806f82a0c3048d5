// Package form holds the parts of a form that check what is typed and show how far work has come.
package form

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/ui/kit"
	"unnoise/ui/page"
)

// Entry is a text entry that says beneath itself, in one sentence, what is wrong with what was typed.
type Entry struct {
	widget.BaseWidget
	// Entry is the part that is typed in.
	Entry *page.Entry
	// OnValid is called with each text that passes the check.
	OnValid func(string)
	// OnInvalid is called after a text that does not pass was marked.
	OnInvalid func()

	check func(string) error
	err   *widget.Label
	root  *fyne.Container
}

// NewEntry makes an entry with a check, which may be nil.
func NewEntry(s *page.Services, text string, check func(string) error, onValid func(string)) *Entry {
	e := &Entry{Entry: s.NewEntry(), check: check, OnValid: onValid, err: widget.NewLabel("")}
	e.err.Importance = widget.DangerImportance
	e.err.Wrapping = fyne.TextWrapWord
	e.err.SizeName = theme.SizeNameCaptionText
	kit.Show(false, e.err)
	e.Entry.Text = text
	e.Entry.OnChanged = e.changed
	e.root = container.New(layout.NewCustomPaddedVBoxLayout(-4), e.Entry, e.err)
	e.ExtendBaseWidget(e)
	return e
}

// CreateRenderer builds the canvas objects.
func (e *Entry) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(e.root) }

// Inside implements kit.Holder.
func (e *Entry) Inside() fyne.CanvasObject { return e.root }

// SetText changes the text without calling OnValid.
func (e *Entry) SetText(s string) {
	if e.Entry.Text == s {
		return
	}
	f := e.OnValid
	e.OnValid = nil
	e.Entry.SetText(s)
	e.OnValid = f
}

// Problem is what is wrong with the text, or empty.
func (e *Entry) Problem() string {
	if e.err.Hidden {
		return ""
	}
	return e.err.Text
}

// SetProblem shows what is wrong; an empty text takes it away.
func (e *Entry) SetProblem(s string) {
	if s == e.Problem() {
		return
	}
	e.err.SetText(s)
	kit.Show(s != "", e.err)
}

func (e *Entry) changed(s string) {
	if e.check != nil {
		if err := e.check(s); err != nil {
			e.SetProblem(page.Sentence(err))
			if e.OnInvalid != nil {
				e.OnInvalid()
			}
			return
		}
	}
	e.SetProblem("")
	if e.OnValid != nil {
		e.OnValid(s)
	}
}

// Whole checks for a whole number from lo to hi.
func Whole(lo, hi int64) func(string) error {
	return func(s string) error {
		v, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if err != nil || v < lo || v > hi {
			return fmt.Errorf("%s", lang.L("Enter a whole number from {{.Low}} to {{.High}}.", map[string]any{"Low": lo, "High": hi}))
		}
		return nil
	}
}

// Real checks for a number from lo to hi.
func Real(lo, hi float64) func(string) error {
	return func(s string) error {
		v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil || math.IsNaN(v) || v < lo || v > hi {
			return fmt.Errorf("%s", lang.L("Enter a number from {{.Low}} to {{.High}}.", map[string]any{"Low": lo, "High": hi}))
		}
		return nil
	}
}

// Progress is a bar with words beneath it and a button that cancels.
type Progress struct {
	widget.BaseWidget
	bar    *kit.Meter
	text   *widget.Label
	cancel *widget.Button
	root   *fyne.Container
}

// NewProgress makes a bar; a nil onCancel leaves the button out.
func NewProgress(onCancel func()) *Progress {
	p := &Progress{bar: kit.NewMeter(80), text: widget.NewLabel("")}
	p.text.Importance = widget.LowImportance
	p.text.Truncation = fyne.TextTruncateEllipsis
	p.cancel = widget.NewButtonWithIcon(lang.L("Cancel"), theme.CancelIcon(), nil)
	p.cancel.OnTapped = func() {
		p.cancel.Disable()
		p.text.SetText(lang.L("Stopping…"))
		onCancel()
	}
	p.cancel.Hidden = onCancel == nil
	p.root = container.NewBorder(nil, p.text, nil, p.cancel, kit.Pad(11, 11, 0, 4, p.bar))
	p.ExtendBaseWidget(p)
	return p
}

// CreateRenderer builds the canvas objects.
func (p *Progress) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(p.root) }

// Inside implements kit.Holder.
func (p *Progress) Inside() fyne.CanvasObject { return p.root }

// Reset makes the bar ready for another piece of work.
func (p *Progress) Reset() {
	p.cancel.Enable()
	p.Set(0, "")
}

// Set shows a fraction from 0 to 1, or a full pale bar when it is negative, with words. After Cancel the words stay.
func (p *Progress) Set(fraction float64, text string) {
	p.bar.Set(fraction)
	if !p.cancel.Disabled() && p.text.Text != text {
		p.text.SetText(text)
	}
}
