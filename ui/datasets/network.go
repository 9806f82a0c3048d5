package datasets

import (
	"context"
	"fmt"
	"image"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
)

const (
	previewRows  = 5  // images
	previewDraws = 6  // draws of each
	previewAlone = 12 // images where each has one draw: several stand in a row
	previewSize  = 96
)

// networkTab shows what the network will see of some images.
type networkTab struct {
	d     *detail
	stale bool
	first int // an item the user asked for, or -1

	width, height *page.Entry
	channels, fit *kit.Select
	resize        *kit.Select
	flip, augment *kit.Check
	note          *widget.Label
	train, reroll *widget.Button
	rows          *fyne.Container

	pp         studio.Preprocess
	known      bool // pp is the dataset's
	seed       uint64
	items      []int
	generation int
	filling    bool
	cancels    []func()
}

func newNetworkTab(d *detail) *networkTab {
	return &networkTab{d: d, stale: true, first: -1, seed: 1}
}

var (
	fits         = []string{"crop", "fit", "stretch"}
	resizes      = []string{"smooth", "nearest"}
	channelCount = []int{1, 3, 4}
)

func (t *networkTab) content() fyne.CanvasObject {
	size := func() *page.Entry {
		e := t.d.s.NewEntry()
		e.OnChanged = func(string) { t.changed() }
		return e
	}
	t.width, t.height = size(), size()
	t.channels = kit.NewSelect([]string{lang.L("Gray"), lang.L("Colour"), lang.L("Colour and transparency")}, func(string) { t.changed() })
	t.fit = kit.NewSelect([]string{lang.L("Crop the middle"), lang.L("Fit all of it in"), lang.L("Stretch")}, func(string) { t.changed() })
	t.resize = kit.NewSelect([]string{lang.L("Smooth"), lang.L("Hard pixels")}, func(string) { t.changed() })
	t.flip = kit.NewCheck(lang.L("Mirror at random"), func(bool) { t.changed() })
	t.augment = kit.NewCheck(lang.L("Turn and mirror, and tell the network"), func(bool) { t.changed() })
	t.reroll = kit.Button(lang.L("Roll again"), icons.Dice, widget.HighImportance, func() { t.seed++; t.draw() })
	other := kit.Button(lang.L("Other pictures"), theme.ViewRefreshIcon(), widget.MediumImportance, func() { t.first = -1; t.pick() })
	t.train = kit.Button(lang.L("Train with these"), icons.Train, widget.MediumImportance, func() {
		t.d.s.Navigate(page.Train, page.TrainOn{Dataset: t.d.id, Preprocess: &t.pp})
	})
	t.note = kit.Muted("")
	t.rows = container.NewVBox()
	sizes := container.NewBorder(nil, nil, container.NewGridWrap(fyne.NewSize(70, 32), t.width), nil,
		container.NewBorder(nil, nil, widget.NewLabel("×"), nil, t.height))
	form := container.NewVBox(kit.Tiles(170, 32, 8, false, sizes, t.channels, t.fit, t.resize),
		container.NewHBox(t.flip, t.augment), container.NewHBox(t.train, other, t.reroll), t.note)
	return container.NewBorder(kit.Pad(6, 4, 0, 0, form), nil, nil, nil, container.NewScroll(t.rows))
}

// show draws when the tab comes to the front.
func (t *networkTab) show() {
	if !t.stale {
		return
	}
	t.stale = false
	if t.known {
		t.pick()
		return
	}
	page.Load(t.d.s, func(ctx context.Context) (studio.TrainRequest, error) {
		return t.d.s.Studio.Training.Defaults(ctx, t.d.id, "")
	}, func(req studio.TrainRequest, err error) {
		t.pp = req.Preprocess
		if err != nil || t.pp.Width == 0 {
			t.pp = studio.Preprocess{Width: t.d.ds.Width, Height: t.d.ds.Height, Channels: t.d.ds.Channels, Fit: "crop"}
		}
		t.known = true
		t.fill()
		t.pick()
	})
}

func (t *networkTab) fill() {
	t.filling = true
	defer func() { t.filling = false }()
	t.width.SetText(strconv.Itoa(t.pp.Width))
	t.height.SetText(strconv.Itoa(t.pp.Height))
	for i, n := range channelCount {
		if n == t.pp.Channels {
			t.channels.SetSelectedIndex(i)
		}
	}
	for i, f := range fits {
		if f == t.pp.Fit {
			t.fit.SetSelectedIndex(i)
		}
	}
	t.resize.SetSelectedIndex(max(slices.Index(resizes, t.pp.Resize), 0))
	t.flip.SetChecked(t.pp.Flip)
	t.augment.SetChecked(t.pp.Augment)
}

// changed reads the form and draws again.
func (t *networkTab) changed() {
	if t.filling {
		return
	}
	w, errW := strconv.Atoi(t.width.Text)
	h, errH := strconv.Atoi(t.height.Text)
	if errW != nil || errH != nil || w < 4 || h < 4 || w > 1024 || h > 1024 {
		t.note.SetText(lang.L("Width and height are whole numbers from 4 to 1024."))
		return
	}
	t.pp.Width, t.pp.Height = w, h
	if i := t.channels.SelectedIndex(); i >= 0 {
		t.pp.Channels = channelCount[i]
	}
	if i := t.fit.SelectedIndex(); i >= 0 {
		t.pp.Fit = fits[i]
	}
	if i := t.resize.SelectedIndex(); i >= 0 {
		t.pp.Resize = resizes[i]
	}
	t.pp.Flip, t.pp.Augment = t.flip.Checked, t.augment.Checked
	t.draw()
}

// pick chooses images at random, beginning with the one the user asked for.
func (t *networkTab) pick() {
	page.Load(t.d.s, func(ctx context.Context) ([]int32, error) {
		return t.d.s.Studio.Datasets.Items(ctx, t.d.id, studio.ItemFilter{})
	}, func(ids []int32, err error) {
		if err != nil {
			t.d.s.Fail(err)
			return
		}
		t.items = nil
		if t.first >= 0 {
			t.items = append(t.items, t.first)
		}
		for _, i := range rand.Perm(min(len(ids), 1<<20)) {
			if len(t.items) == previewAlone {
				break
			}
			if int(ids[i]) != t.first {
				t.items = append(t.items, int(ids[i]))
			}
		}
		t.draw()
	})
}

// draw asks for the draws of each image and shows a row when it is ready.
func (t *networkTab) draw() {
	t.generation++
	gen := t.generation
	for _, c := range t.cancels {
		c()
	}
	t.cancels = nil
	count := 1 // where nothing is drawn by chance, one shows all there is
	if t.pp.Flip || t.pp.Augment {
		count = previewDraws
	}
	kit.Show(count > 1, t.reroll)
	size := map[string]any{"N": count, "Size": fmt.Sprintf("%d × %d × %d", t.pp.Width, t.pp.Height, t.pp.Channels)}
	if count > 1 {
		t.note.SetText(lang.L("Left: the picture. Right: {{.N}} draws of what the network is given, {{.Size}} values.", size))
	} else {
		t.note.SetText(lang.L("Left: the picture. Right: what the network is given, {{.Size}} values.", size))
	}
	items := t.items
	if count > 1 {
		items = items[:min(len(items), previewRows)]
	}
	rows := make([]fyne.CanvasObject, 0, len(items))
	for _, item := range items {
		original := kit.NewPicture(previewSize, previewSize)
		arrow := container.NewCenter(kit.NewIcon(theme.NavigateNextIcon()))
		cells := []fyne.CanvasObject{container.NewBorder(nil, kit.Caption(""), nil, nil, original), container.NewBorder(nil, kit.Caption(""), nil, nil, arrow)}
		draws, done := make([]*kit.Picture, count), make([]*widget.Label, count)
		for i := range draws {
			draws[i], done[i] = kit.NewPicture(previewSize, previewSize), kit.Caption("")
			done[i].Alignment = fyne.TextAlignCenter
			cells = append(cells, container.NewBorder(nil, done[i], nil, nil, draws[i]))
		}
		rows = append(rows, container.NewHBox(cells...))
		t.cancels = append(t.cancels, t.d.s.Thumb(studio.Ref{Kind: studio.DatasetItem, Owner: t.d.id, Index: item}, previewSize-8, func(img *image.RGBA) {
			if img != nil {
				original.Set(img)
			}
		}))
		req := studio.PreviewRequest{Dataset: t.d.id, Item: item, Preprocess: t.pp, Seed: t.seed, Count: count}
		page.Load(t.d.s, func(ctx context.Context) ([]studio.PreviewImage, error) {
			return t.d.s.Studio.Datasets.Preview(ctx, req)
		},
			func(out []studio.PreviewImage, err error) {
				if gen != t.generation {
					return
				}
				if err != nil {
					t.note.SetText(page.Sentence(err))
					return
				}
				for i, o := range out[:min(len(out), len(draws))] {
					draws[i].Set(o.Image)
					var words []string
					for _, w := range o.Done() {
						words = append(words, page.Text(w))
					}
					done[i].SetText(strings.Join(words, ", "))
				}
			})
	}
	t.rows.RemoveAll()
	if count > 1 || len(rows) == 0 {
		t.rows.Objects = rows
	} else {
		t.rows.Add(container.NewGridWrap(rows[0].MinSize().AddWidthHeight(20, 0), rows...))
	}
	t.rows.Refresh()
}
