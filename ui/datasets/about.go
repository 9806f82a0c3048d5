package datasets

import (
	"context"
	"fmt"
	"math"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/kit"
	"unnoise/ui/page"
)

const barsShown = 40 // classes or sizes listed

// aboutTab is the facts of the dataset and its held-out share.
type aboutTab struct {
	d *detail

	source                          *widget.Label
	images, excluded, bad, channels *kit.Figure
	added                           *kit.Figure
	held                            *kit.Slider
	heldText                        *widget.Label
	classes, sizes, passed          *fyne.Container
	filling                         bool
}

func newAboutTab(d *detail) *aboutTab { return &aboutTab{d: d} }

func (t *aboutTab) content() fyne.CanvasObject {
	t.source = kit.Text("")
	t.source.Wrapping = fyne.TextWrapBreak
	t.source.Selectable = true
	t.images = kit.NewFigure(lang.L("Images"), "–")
	t.excluded = kit.NewFigure(lang.L("Excluded"), "–")
	t.bad = kit.NewFigure(lang.L("Bad files"), "–")
	t.channels = kit.NewFigure(lang.L("Suggested size"), "–")
	t.added = kit.NewFigure(lang.L("Scanned"), "–")
	t.held = kit.NewSlider(0, 50)
	t.held.Step = 1
	t.heldText = kit.Text("")
	t.held.OnChanged = func(float64) { t.tellHeld() }
	t.held.OnChangeEnded = func(v float64) {
		if t.filling || math.Abs(v/100-t.d.ds.HeldOut) < 1e-9 {
			return
		}
		t.d.change(lang.L("The held-out share is {{.N}} %", map[string]any{"N": fmt.Sprintf("%.0f", v)}), func(ctx context.Context) error {
			return t.d.s.Studio.Datasets.SetHeldOut(ctx, t.d.id, v/100)
		})
	}
	t.classes, t.sizes, t.passed = container.NewVBox(), container.NewVBox(), container.NewVBox()
	return kit.Scroll(kit.Gap(1, 1),
		kit.Card(container.NewVBox(kit.Tiles(120, 50, 8, true, t.images, t.excluded, t.bad, t.channels, t.added), t.source)),
		kit.Section(lang.L("Held-out images"),
			lang.L("Some images are kept out of training. The loss on them shows whether the network learns the kind of picture or only remembers these."),
			t.held, t.heldText),
		kit.Section(lang.L("Classes"), "", t.classes),
		kit.Section(lang.L("Sizes"), "", t.sizes),
		kit.Section(lang.L("Passed over"), "", t.passed))
}

func (t *aboutTab) tellHeld() {
	n := t.d.ds.Items - t.d.ds.Excluded
	held := int(math.Round(float64(n) * t.held.Value / 100))
	kit.Show(!t.d.ds.Divided, t.held)
	if t.d.ds.Divided {
		t.heldText.SetText(lang.L("The folders (train, test, val) say which images are held out: {{.Held}} of {{.N}}.", map[string]any{
			"Held": page.Int(t.d.ds.Held), "N": page.Int(n),
		}))
		return
	}
	if held == 0 {
		t.heldText.SetText(lang.L("No image is held out; there will be no held-out loss."))
		return
	}
	t.heldText.SetText(lang.L("{{.Percent}} %: about {{.Held}} of {{.N}} images are held out.", map[string]any{
		"Percent": fmt.Sprintf("%.0f", t.held.Value), "Held": page.Int(held), "N": page.Int(n),
	}))
}

func (t *aboutTab) set(ds studio.Dataset) {
	t.filling = true
	defer func() { t.filling = false }()
	t.source.SetText(ds.Source.String())
	t.images.Set(page.Int(ds.Items))
	t.excluded.Set(page.Int(ds.Excluded))
	t.bad.Set(page.Int(ds.Bad))
	t.channels.Set(fmt.Sprintf("%s × %d", sizeName(ds.Width, ds.Height), ds.Channels))
	t.added.Set(page.When(ds.Scanned))
	t.held.SetValue(math.Round(ds.HeldOut * 100))
	t.tellHeld()
	var rows []bar
	for _, c := range ds.Classes {
		rows = append(rows, bar{c.Name, c.Count})
	}
	bars(t.classes, rows, lang.L("The images have no classes. A folder within the source folder makes a class."))
	rows = nil
	for _, c := range ds.Sizes {
		rows = append(rows, bar{sizeName(c.Width, c.Height), c.Count})
	}
	bars(t.sizes, rows, "")
	t.passed.RemoveAll()
	for _, what := range ds.PassedOver {
		t.passed.Add(kit.Muted(page.Text(what)))
	}
	if len(ds.PassedOver) == 0 {
		t.passed.Add(kit.Muted(lang.L("Nothing was passed over.")))
	}
	t.passed.Refresh()
}

type bar struct {
	name string
	n    int
}

// bars lists names with their counts as bars.
func bars(box *fyne.Container, rows []bar, none string) {
	box.RemoveAll()
	defer box.Refresh()
	if len(rows) == 0 || len(rows) == 1 && rows[0].name == "" {
		if none != "" {
			box.Add(kit.Muted(none))
		}
		return
	}
	most := 1
	for _, r := range rows {
		most = max(most, r.n)
	}
	for i, r := range rows {
		if i == barsShown {
			box.Add(kit.Muted(lang.L("…and {{.N}} more", map[string]any{"N": page.Int(len(rows) - i)})))
			break
		}
		m := kit.NewMeter(120)
		m.Set(float64(r.n) / float64(most))
		count := widget.NewLabel(page.Int(r.n))
		count.Alignment = fyne.TextAlignTrailing
		name := container.NewGridWrap(fyne.NewSize(190, count.MinSize().Height), kit.Ellipsis(r.name, false))
		number := container.NewGridWrap(fyne.NewSize(80, count.MinSize().Height), count)
		box.Add(kit.Pad(-3, -3, 0, 0, container.NewBorder(nil, nil, name, number, kit.Pad(11, 11, 0, 0, m))))
	}
}
