// Package data turns a person's pictures into training batches.
//
// [Scan] reads a folder, a .zip or an IDX file and reports what is there: sizes, classes, near-duplicates, and the files
// that cannot be used, each with its reason. [BuildCache] decodes every usable picture once, in parallel, into a
// memory-mapped file of bytes. A [Loader] turns that file into batches that depend on nothing but the seed and the step.
//
// Files from elsewhere are hostile until checked: sizes, counts, depths and paths are bounded before memory is spent on
// them, and a decoder's panic becomes the reason why one file was set aside.
package data

import (
	"sync"
	"time"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// Progress says how far a long call has come.
type Progress struct {
	Done, Total int    // in files; Total is 0 while it is not known
	What        string // what is being done, in the words of a status line
}

// Report is what a scan found. It is stored as JSON in dataset.json.
type Report struct {
	Path       durable.Path `json:"path"` // as given to Scan
	Kind       Kind         `json:"kind"`
	Items      []Item       `json:"items"`                 // the usable pictures, sorted by name
	Classes    []ClassCount `json:"classes,omitempty"`     // sorted by name (IDX: by label); nil when there are no classes
	Sizes      []SizeCount  `json:"sizes"`                 // the most frequent first
	Bad        []BadFile    `json:"bad,omitempty"`         // set aside, each with its reason
	Duplicates [][]string   `json:"duplicates,omitempty"`  // groups of near-duplicates, by name
	Ignored    int          `json:"ignored"`               // how many files and folders were passed over
	Passed     []PassedOver `json:"passed_over,omitempty"` // the same, by kind
	Background string       `json:"background,omitempty"`  // what transparent pictures should lie on: "black", "white", or "" when all are opaque
}

// Kind is the kind of place that pictures come from.
type Kind string

// The kinds of source that Scan understands.
const (
	Folder Kind = "folder"
	Zip    Kind = "zip"
	IDX    Kind = "idx"
)

// Item is one usable picture.
type Item struct {
	// Name is the path below the source with forward slashes, where it is not UTF-8 as [durable.Plain] has it; the number in an IDX file.
	Name     string `json:"name"`
	Class    string `json:"class,omitempty"` // "" when the dataset has no classes
	Width    int    `json:"width"`           // in pixels, as it is seen: after EXIF orientation
	Height   int    `json:"height"`
	Format   string `json:"format"`   // png, jpeg, gif, bmp, tiff, webp or idx
	Channels int    `json:"channels"` // 1 gray, 3 colour, 4 colour and alpha
	Bits     int    `json:"bits"`     // per channel in the file: 8 or 16
	// Part is the part of the dataset that its folder stands for, one of the …Part; "" where folders do not divide it.
	Part string `json:"part,omitempty"`
	// Content names what is in the file, wherever it lies. Older reports have none.
	Content string `json:"content,omitempty"`
}

// ClassCount is a class and how many pictures it has.
type ClassCount struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// SizeCount is one bar of the size histogram.
type SizeCount struct {
	Width  int `json:"width"`
	Height int `json:"height"`
	Count  int `json:"count"`
}

// BadFile is a file that was set aside.
type BadFile struct {
	Name   string `json:"name"`
	Reason string `json:"reason"` // for people: "the file ends too early"
	// Text is the reason where it has figures, so that it can be told in another language.
	Text sentence.Text `json:"text,omitzero"`
	// Unread says that the reason lies outside the file: read again, it may be usable.
	Unread bool `json:"unread,omitempty"`
}

// Why is the reason, to be told in any language.
func (b BadFile) Why() sentence.Text { return b.Text.Or(b.Reason) }

func badFile(name string, why sentence.Text) BadFile {
	b := BadFile{Name: name, Reason: why.String()}
	if len(why.Data) > 0 {
		b.Text = why
	}
	return b
}

// ErrNoImages is returned for a source without a single usable picture.
var ErrNoImages = sentence.Errorf("no usable pictures")

// meter reports progress from many goroutines, at most 20 times a second and always at the end.
type meter struct {
	mu     sync.Mutex
	report func(Progress)
	p      Progress
	last   time.Time
}

func newMeter(report func(Progress), what string, total int) *meter {
	m := &meter{report: report, p: Progress{Total: total, What: what}}
	if report != nil {
		report(m.p)
		m.last = time.Now()
	}
	return m
}

func (m *meter) step() {
	if m.report == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.Done++
	if now := time.Now(); m.p.Done == m.p.Total || now.Sub(m.last) >= 50*time.Millisecond {
		m.last = now
		m.report(m.p)
	}
}
