package train

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"strings"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/widgets/form"
)

// setup is the side on which a training is described before it starts.
type setup struct {
	p    *Page
	root *fyne.Container
	have fyne.CanvasObject // with a dataset
	none fyne.CanvasObject // without any

	datasets []studio.Dataset
	loaded   bool // datasets were read
	req      studio.TrainRequest
	ok       bool // req was filled by Defaults or Settings
	problems []studio.Problem
	checked  bool
	due      time.Time // when the settings are checked next; zero: no need
	checking int
	filling  bool
	filled   int // counts fills, so that the answer to an older one is dropped

	dataset *kit.Select
	cover   *kit.Picture
	facts   *widget.Label
	presets map[string]*kit.TapCard
	name    *form.Entry
	fields  []*fieldControl

	budget    *kit.Select // how long it may take
	times     []time.Duration
	within    time.Duration // of a form that is filled anew
	measure   *kit.Action
	progress  *form.Progress
	task      *page.Task // measures
	figures   map[string]*kit.Figure
	stale     *widget.Label
	warnings  *fyne.Container
	estimated bool // est is of the settings as they are
	est       studio.Estimate
	refused   bool // to be measured: somebody cancelled it, or it failed
	reasons   *fyne.Container
	queue     *fyne.Container
	queueCard fyne.CanvasObject
}

// fieldControl is one setting on the form.
type fieldControl struct {
	f     studio.Field
	entry *form.Entry
	pick  *kit.Select
	check *kit.Check
}

func newSetup(p *Page) *setup {
	t := &setup{p: p, presets: map[string]*kit.TapCard{}, figures: map[string]*kit.Figure{}, times: []time.Duration{10 * time.Minute, time.Hour, 8 * time.Hour, 0}, within: time.Hour}
	t.dataset = kit.NewSelect(nil, func(string) {
		if i := t.dataset.SelectedIndex(); !t.filling && i >= 0 {
			t.fill(t.datasets[i].ID, t.req.Preset)
		}
	})
	t.dataset.PlaceHolder = lang.L("Choose a dataset")
	t.cover = kit.NewPicture(84, 84)
	t.facts = kit.Muted("")
	t.name = form.NewEntry(p.s, "", nil, func(s string) {
		t.req.Name = s
		t.touched(false)
	})

	var cards []fyne.CanvasObject
	for _, ps := range p.s.Studio.Training.Presets() {
		head := container.New(layout.NewCustomPaddedVBoxLayout(-12), kit.Ellipsis(page.Text(ps.Label), true),
			kit.Caption(lang.L("{{.N}} parameters", map[string]any{"N": page.Count(ps.Params)})))
		card := kit.NewTapCard(container.NewBorder(head, nil, nil, nil, kit.Muted(page.Text(ps.Help))), func() {
			if t.req.Preset != ps.Name {
				t.fill(t.req.Dataset, ps.Name)
			}
		})
		t.presets[ps.Name] = card
		cards = append(cards, card)
	}
	what := kit.Card(container.NewVBox(
		kit.Heading(lang.L("What to learn from")),
		container.NewBorder(nil, nil, container.NewCenter(t.cover), nil, container.NewVBox(t.dataset, t.facts)),
		kit.Row(lang.L("Name"), "", t.name),
	))
	network := kit.Section(lang.L("Network"), lang.L("A larger network draws better and learns more slowly."), container.New(&columns{least: 250, most: 3}, cards...))

	t.budget = kit.NewSelect(nil, nil)
	t.budget.OnChanged = func(string) {
		if i := t.budget.SelectedIndex(); !t.filling && i >= 0 {
			t.allow(t.times[i])
		}
	}
	basic := []fyne.CanvasObject{kit.Row(lang.L("Time"), lang.L("How long the training may take: the steps that fit are measured on this computer."), t.budget)}
	var advanced []fyne.CanvasObject
	for _, f := range p.s.Studio.Training.Fields() {
		switch f.Key {
		case "dataset", "preset", "name":
			continue
		}
		c, obj := t.control(f)
		t.fields = append(t.fields, c)
		row := kit.Row(page.Text(f.Label), page.Text(f.Help), obj)
		if f.Advanced {
			advanced = append(advanced, row)
		} else {
			basic = append(basic, row)
		}
	}
	objs := []fyne.CanvasObject{what, network, kit.Section(lang.L("Settings"), "", container.NewVBox(basic...))}
	if len(advanced) > 0 {
		acc := widget.NewAccordion(widget.NewAccordionItem(lang.L("Advanced"), container.NewVBox(advanced...)))
		objs = append(objs, kit.Card(acc))
	}
	left := kit.Scroll(objs...)

	for _, k := range []struct{ key, name string }{
		{"duration", lang.L("Whole training")},
		{"step", lang.L("Seconds a step")},
		{"images", lang.L("Images per second")},
		{"memory", lang.L("Memory")},
		{"disk", lang.L("Disk")},
		{"params", lang.L("Parameters")},
	} {
		t.figures[k.key] = kit.NewFigure(k.name, "–")
	}
	grid := container.NewGridWithColumns(2, t.figures["duration"], t.figures["step"], t.figures["memory"], t.figures["disk"], t.figures["images"], t.figures["params"])
	t.measure = kit.NewAction(lang.L("Measure"), theme.HistoryIcon(), func() { t.estimate(true) })
	t.progress = form.NewProgress(func() {
		t.refused = true
		t.rest()
	})
	kit.Show(false, t.progress)
	t.stale = kit.Muted(lang.L("Runs a few real steps with these settings, to tell what the training will take."))
	t.warnings = container.NewVBox()
	t.reasons = container.NewVBox()
	kit.Show(false, t.reasons)
	t.queue = container.NewVBox()
	before := kit.Section(lang.L("Before you start"), "", t.stale, grid, t.warnings, container.NewHBox(t.measure), t.progress)
	t.queueCard = kit.Section(lang.L("Queue"), "", t.queue)
	kit.Show(false, t.queueCard)
	side := container.NewVScroll(kit.Pad(0, 24, 0, 6, container.New(layout.NewCustomPaddedVBoxLayout(12), t.reasons, before, t.queueCard)))
	t.have = container.New(sideLayout{}, left, side)
	t.none = kit.Empty(icons.Datasets, lang.L("No dataset yet"),
		lang.L("Training needs pictures to learn from. Add a folder of yours, or try the built-in demo."),
		kit.Button(lang.L("Go to Datasets"), nil, widget.HighImportance, func() { p.s.Navigate(page.Datasets, nil) }),
		kit.Button(lang.L("Try the demo"), icons.Demo, widget.MediumImportance, t.demo))
	t.root = container.NewStack(t.have, t.none)
	kit.Show(false, t.have)
	kit.Show(false, t.none)
	return t
}

// columns lays objects in as many columns of one width as there is room for, and makes those of a row equally high.
type columns struct {
	least float32 // width of a column
	most  int     // columns
	width float32
}

func (l *columns) count(n int) int {
	return max(1, min(int((l.width+theme.Padding())/(l.least+theme.Padding())), l.most, n))
}

// MinSize implements fyne.Layout; its height is that at the width of the last layout.
func (l *columns) MinSize(objs []fyne.CanvasObject) fyne.Size {
	cols, size := l.count(len(objs)), fyne.NewSize(l.least, 0)
	for i := 0; i < len(objs); i += cols {
		size.Height += l.row(objs[i:min(i+cols, len(objs))])
		if i > 0 {
			size.Height += theme.Padding()
		}
	}
	return size
}

func (l *columns) row(objs []fyne.CanvasObject) (h float32) {
	for _, o := range objs {
		h = max(h, o.MinSize().Height)
	}
	return h
}

// Layout implements fyne.Layout.
func (l *columns) Layout(objs []fyne.CanvasObject, size fyne.Size) {
	l.width = size.Width
	cols, pad := l.count(len(objs)), theme.Padding()
	w := (size.Width+pad)/float32(cols) - pad
	y := float32(0)
	for i := 0; i < len(objs); i += cols {
		row := objs[i:min(i+cols, len(objs))]
		for _, o := range row { // the width decides the height of wrapped text
			o.Resize(fyne.NewSize(w, o.MinSize().Height))
		}
		h := l.row(row)
		for k, o := range row {
			o.Resize(fyne.NewSize(w, h))
			o.Move(fyne.NewPos(float32(k)*(w+pad), y))
		}
		y += h + pad
	}
}

// sideLayout gives the second object a column of its own at the right, or the lower part where the first would be cut.
type sideLayout struct{}

const sideLeast, sideGap = 280, 12

func (sideLayout) MinSize(objs []fyne.CanvasObject) fyne.Size {
	a, b := objs[0].MinSize(), objs[1].MinSize()
	return fyne.NewSize(max(a.Width, b.Width), a.Height+sideGap+b.Height)
}

func (sideLayout) Layout(objs []fyne.CanvasObject, s fyne.Size) {
	if s.Width < objs[0].MinSize().Width+sideGap+sideLeast {
		top := (s.Height - sideGap) * 0.62
		objs[0].Resize(fyne.NewSize(s.Width, top))
		objs[1].Move(fyne.NewPos(0, top+sideGap))
		objs[1].Resize(fyne.NewSize(s.Width, s.Height-top-sideGap))
		return
	}
	w := min(max(s.Width*0.34, sideLeast), 380)
	left := min(s.Width-w-sideGap, 980)
	objs[0].Resize(fyne.NewSize(left, s.Height))
	objs[1].Resize(fyne.NewSize(w, s.Height))
	objs[1].Move(fyne.NewPos(left+sideGap, 0))
}

// control makes what a field is set with.
func (t *setup) control(f studio.Field) (*fieldControl, fyne.CanvasObject) {
	c := &fieldControl{f: f}
	set := func(s string) {
		if err := f.Set(&t.req, s); err != nil {
			t.p.s.Fail(err)
			return
		}
		if f.Key == "steps" {
			t.req.Within = 0
		}
		t.touched(true)
	}
	switch f.Kind {
	case studio.ChoiceField:
		names := make([]string, len(f.Choices))
		for i, ch := range f.Choices {
			names[i] = page.Text(ch.Label)
		}
		c.pick = kit.NewSelect(names, nil)
		c.pick.PlaceHolder = "–"
		c.pick.OnChanged = func(string) {
			if i := c.pick.SelectedIndex(); !t.filling && i >= 0 {
				set(f.Choices[i].Value)
			}
		}
		return c, c.pick
	case studio.BoolField:
		c.check = kit.NewCheck("", func(on bool) {
			if !t.filling {
				set(fmt.Sprint(on))
			}
		})
		return c, c.check
	case studio.NumberField, studio.FloatField:
	}
	c.entry = form.NewEntry(t.p.s, "", func(s string) error {
		try := t.req
		return f.Set(&try, strings.TrimSpace(s))
	}, func(s string) { set(strings.TrimSpace(s)) })
	c.entry.OnInvalid = t.p.update
	return c, c.entry
}

func (c *fieldControl) show(req studio.TrainRequest) {
	v := c.f.Get(req)
	switch {
	case c.entry != nil:
		c.entry.SetText(v)
	case c.pick != nil:
		c.pick.SetSelectedIndex(slices.IndexFunc(c.f.Choices, func(ch studio.Choice) bool { return ch.Value == v }))
	case c.check != nil:
		c.check.SetChecked(v == "true")
	}
}

// load reads the datasets, and fills the form the first time.
func (t *setup) load() {
	page.Load(t.p.s, t.p.s.Studio.Datasets.List, func(ds []studio.Dataset, err error) {
		if err != nil {
			t.p.s.Fail(err)
			return
		}
		t.datasets, t.loaded = ds, true
		kit.Show(len(ds) > 0, t.have)
		kit.Show(len(ds) == 0, t.none)
		t.root.Refresh()
		names := make([]string, len(ds))
		at := -1
		for i, d := range ds {
			names[i] = d.Name
			if n := slices.Index(names[:i], d.Name); n >= 0 {
				names[i] = d.Name + " (" + d.ID + ")"
			}
			if d.ID == t.req.Dataset {
				at = i
			}
		}
		t.filling = true
		t.dataset.Options = names
		if at >= 0 {
			t.dataset.SetSelectedIndex(at)
		}
		t.dataset.Refresh()
		t.filling = false
		if at < 0 && len(ds) > 0 {
			if !t.restore() {
				t.fill(ds[0].ID, t.req.Preset)
			}
		} else {
			t.showFacts()
			t.check()
		}
		t.showQueue()
		t.p.update()
	})
}

// fill puts the defaults for a dataset and a preset into the form.
func (t *setup) fill(dataset, preset string) { t.fillWith(dataset, preset, nil) }

// fillWith is fill with other sizes of the pictures, unless pp is nil.
func (t *setup) fillWith(dataset, preset string, pp *studio.Preprocess) {
	was, again := t.req, t.ok
	name := was.Name
	t.filled++
	n := t.filled
	page.Load(t.p.s, func(ctx context.Context) (studio.TrainRequest, error) {
		return t.p.s.Studio.Training.Defaults(ctx, dataset, preset)
	}, func(r studio.TrainRequest, err error) {
		if n != t.filled {
			return
		}
		if err != nil {
			t.p.s.Fail(err)
			return
		}
		if name != "" && dataset == t.req.Dataset {
			r.Name = name
		}
		if pp != nil {
			r.Preprocess = *pp
		}
		r.Within = int64(t.within.Seconds())
		if again && was.Within == 0 {
			r.Steps, r.Within = was.Steps, 0
		}
		t.use(r)
	})
}

// remembered is the form's name among what is remembered.
const remembered = "training"

// restore puts back what the form was left with, and says false when its dataset is not there any more.
func (t *setup) restore() bool {
	var was studio.TrainRequest
	if t.ok || !t.p.s.Recall(remembered, &was) || !slices.ContainsFunc(t.datasets, func(d studio.Dataset) bool { return d.ID == was.Dataset }) {
		return false
	}
	t.filled++
	n := t.filled
	page.Load(t.p.s, func(ctx context.Context) (studio.TrainRequest, error) {
		return t.p.s.Studio.Training.Defaults(ctx, was.Dataset, was.Preset)
	}, func(r studio.TrainRequest, err error) {
		switch {
		case n != t.filled:
		case err != nil || !t.p.s.Recall(remembered, &r): // what an older version left has not all there is
			t.fill(was.Dataset, "")
		default:
			t.use(r)
		}
	})
	return true
}

// clone puts a run's settings into the form.
func (t *setup) clone(run string) {
	t.filled++
	n := t.filled
	page.Load(t.p.s, func(ctx context.Context) (studio.TrainRequest, error) { return t.p.s.Studio.Runs.Settings(ctx, run) },
		func(r studio.TrainRequest, err error) {
			if n != t.filled {
				return
			}
			if err != nil {
				t.p.s.Fail(err)
				return
			}
			r.FromRun = run
			t.use(r)
		})
}

// use shows a request on the form.
func (t *setup) use(r studio.TrainRequest) {
	t.req, t.ok = r, true
	t.filling = true
	t.name.SetText(r.Name)
	t.dataset.ClearSelected()
	for i, d := range t.datasets {
		if d.ID == r.Dataset {
			t.dataset.SetSelectedIndex(i)
		}
	}
	for name, card := range t.presets {
		card.SetSelected(name == r.Preset)
	}
	for _, c := range t.fields {
		c.show(r)
	}
	t.filling = false
	t.showFacts()
	t.touched(true)
	t.check()
}

// allow takes a time for the whole training, or with 0 the number of steps as it stands.
func (t *setup) allow(within time.Duration) {
	t.req.Within = int64(within.Seconds())
	if within > 0 {
		t.within = within
	}
	t.showBudget()
	t.touched(true)
}

// showBudget says how many steps fit into each time, and puts those of the chosen one into their entry.
func (t *setup) showBudget() {
	names := []string{lang.L("10 minutes"), lang.L("1 hour"), lang.L("Overnight, 8 hours"), lang.L("Own number of steps")}
	at := len(names) - 1
	for i, d := range t.times[:at] {
		if t.req.Within == int64(d.Seconds()) {
			at = i
		}
		if t.estimated {
			names[i] += lang.L(": about {{.N}} steps", map[string]any{"N": page.Int(t.est.Steps(d))})
		}
	}
	t.filling = true
	defer func() { t.filling = false }()
	t.budget.Options = names
	t.budget.SetSelectedIndex(at)
	t.budget.Refresh()
	if t.req.Within == 0 || !t.estimated {
		return
	}
	t.req.Steps = t.est.Steps(time.Duration(t.req.Within) * time.Second)
	for _, c := range t.fields {
		if c.f.Key == "steps" {
			c.show(t.req)
		}
	}
}

// showFacts says what the chosen dataset is.
func (t *setup) showFacts() {
	for _, d := range t.datasets {
		if d.ID != t.req.Dataset {
			continue
		}
		text := lang.L("{{.N}} pictures", map[string]any{"N": page.Int(d.Items - d.Excluded)})
		if n := len(d.Classes); n > 1 {
			text += " · " + lang.L("{{.N}} classes", map[string]any{"N": page.Int(n)})
		}
		switch {
		case d.Divided:
			text += " · " + lang.L("{{.N}} held out", map[string]any{"N": page.Int(d.Held)})
		case d.HeldOut > 0:
			text += " · " + lang.L("{{.N}} % held out", map[string]any{"N": fmt.Sprintf("%.0f", d.HeldOut*100)})
		}
		if d.Missing {
			text += "\n" + lang.L("Its folder is not there now: {{.Path}}", map[string]any{"Path": d.Source.String()})
		}
		t.facts.SetText(text)
		ref := studio.Ref{Kind: studio.DatasetCover, Owner: d.ID}
		t.p.s.Studio.Thumbs.Request(ref, 168, func(img *image.RGBA, err error) {
			if err == nil {
				t.p.s.Post(func() { t.cover.Set(img) })
			}
		})
		return
	}
	t.facts.SetText("")
}

// touched notes that the settings changed: they are checked again soon, and what was measured no longer holds.
func (t *setup) touched(measured bool) {
	t.due = time.Now().Add(250 * time.Millisecond)
	if measured {
		t.rest()
		t.refused = false
		if t.estimated {
			t.estimated = false
			t.stale.SetText(lang.L("The settings have changed since this was measured."))
			t.stale.Importance = widget.WarningImportance
			t.stale.Refresh()
			t.warnings.RemoveAll()
		}
		t.showBudget()
	}
	t.p.update()
}

// rest ends what measures.
func (t *setup) rest() {
	if t.task != nil {
		t.task.Cancel()
		t.task = nil
		kit.Show(false, t.progress)
		kit.Show(true, t.measure)
	}
}

// tick checks the settings when they have rested, and shows that something is measured.
func (t *setup) tick() {
	if !t.due.IsZero() && time.Now().After(t.due) {
		t.check()
	}
	if t.task != nil && !t.task.Ended() {
		t.progress.Set(-1, lang.L("Measuring this computer…"))
	}
}

// check asks why the training could not start.
func (t *setup) check() {
	t.due = time.Time{}
	if !t.ok {
		return
	}
	req := t.req
	t.p.s.Remember(remembered, req)
	t.checking++
	n := t.checking
	page.Load(t.p.s, func(ctx context.Context) ([]studio.Problem, error) { return t.p.s.Studio.Training.Check(ctx, req) },
		func(ps []studio.Problem, err error) {
			if n != t.checking {
				return
			}
			if err != nil {
				t.p.s.Fail(err)
				return
			}
			t.problems, t.checked = ps, true
			t.showProblems()
			t.p.update()
			if t.ready() && !t.estimated && !t.refused && t.task == nil && !t.p.s.Studio.Training.Snapshot().Busy() {
				t.estimate(false)
			}
		})
}

// showProblems puts each reason at its field, and all of them at the top of the right column.
func (t *setup) showProblems() {
	t.reasons.Objects = nil
	for _, c := range t.fields {
		if c.entry == nil {
			continue
		}
		text := ""
		for _, p := range t.problems {
			if p.Field == c.f.Key {
				text = page.Sentence(p.Text)
			}
		}
		c.entry.SetProblem(text)
	}
	if len(t.problems) > 0 {
		box := container.NewVBox(kit.Heading(lang.L("Cannot start yet")))
		for _, p := range t.problems {
			l := kit.Text(page.Sentence(p.Text))
			box.Add(container.NewBorder(nil, nil, container.NewVBox(kit.NewIcon(theme.NewWarningThemedResource(theme.WarningIcon()))), nil, l))
			for _, m := range p.Mends {
				box.Add(container.NewHBox(kit.Button(page.Text(m.Label), nil, widget.MediumImportance, func() {
					t.p.s.ApplyMend(m, nil, func(error) { t.check() })
				})))
			}
		}
		t.reasons.Objects = []fyne.CanvasObject{kit.Card(box)}
	}
	kit.Show(len(t.problems) > 0, t.reasons)
	t.reasons.Refresh()
	why := ""
	if !t.ready() {
		why = lang.L("Mend the settings first.")
	} else if t.p.s.Studio.Training.Snapshot().Busy() {
		why = lang.L("A training runs now.")
	}
	t.measure.SetReason(why)
	if t.req.Within > 0 && !t.estimated && why != "" {
		t.stale.SetText(lang.L("The steps that fit into the time are measured when it starts."))
	}
}

// ready tells whether Start may be clicked.
func (t *setup) ready() bool {
	if !t.ok || !t.checked || len(t.problems) > 0 {
		return false
	}
	for _, c := range t.fields {
		if c.entry != nil && c.entry.Problem() != "" {
			return false
		}
	}
	return true
}

// why is the reason beside a disabled Start, in one line.
func (t *setup) why() string {
	switch {
	case !t.loaded:
		return lang.L("Reading the datasets…")
	case len(t.datasets) == 0:
		return lang.L("There is no dataset yet.")
	case len(t.problems) == 1:
		if text := page.Sentence(t.problems[0].Text); len([]rune(text)) < 70 {
			return text
		}
		return lang.L("See the reason below.")
	case len(t.problems) > 1:
		return lang.L("See the {{.N}} reasons below.", map[string]any{"N": len(t.problems)})
	case !t.ok || !t.checked:
		return lang.L("Checking the settings…")
	}
	return lang.L("A setting is not valid.")
}

// estimate measures a few real steps, in the background, unless it is known how fast they are and anew does not say to
// measure all the same.
func (t *setup) estimate(anew bool) {
	req := t.req
	var est studio.Estimate
	kit.Show(false, t.measure)
	t.progress.Reset()
	kit.Show(true, t.progress)
	var task *page.Task
	task = t.p.s.Run(lang.L("Measuring"), func(ctx context.Context, _ func(page.Progress)) error {
		var err error
		est, err = t.p.s.Studio.Training.Estimate(ctx, req, anew)
		return err
	}, func(err error) {
		if t.task != task { // its settings have changed
			return
		}
		t.rest()
		switch {
		case err == nil:
			t.showEstimate(est)
		case errors.Is(err, context.Canceled): // by a training that began
		default:
			t.refused = true
			t.stale.Importance = widget.WarningImportance
			t.stale.SetText(page.Sentence(err))
		}
	})
	t.task = task
}

func (t *setup) showEstimate(e studio.Estimate) {
	t.rest()
	t.estimated, t.est = true, e
	t.showBudget()
	t.stale.Importance = widget.LowImportance
	t.stale.SetText(lang.L("Measured on this computer with these settings."))
	t.figures["step"].Set(page.Number(e.SecondsPerStep))
	d := e.Duration
	if t.req.Within > 0 {
		d = time.Duration(t.req.Within) * time.Second
	}
	t.figures["duration"].Set(page.Duration(d))
	t.figures["images"].Set(page.Number(e.ImagesPerSec))
	t.figures["memory"].Set(of(e.Memory, e.MemoryFree))
	t.figures["disk"].Set(of(e.Disk, e.DiskFree))
	t.figures["params"].Set(page.Count(e.Params))
	t.warnings.Objects = nil
	for _, w := range e.Warnings {
		l := kit.Text(page.Text(w))
		l.Importance = widget.WarningImportance
		t.warnings.Add(l)
	}
	mend := func(label string, do func()) {
		t.warnings.Add(container.NewHBox(kit.Button(label, nil, widget.MediumImportance, do)))
	}
	if e.MemoryFree > 0 && e.Memory > e.MemoryFree {
		if t.req.Batch > 1 {
			mend(lang.L("Halve the batch"), func() { t.changed(func(r *studio.TrainRequest) { r.Batch /= 2 }) })
		}
		if smaller, ok := t.smaller(); ok {
			mend(lang.L("Choose the network {{.Name}}", map[string]any{"Name": page.Text(smaller.Label)}), func() { t.fill(t.req.Dataset, smaller.Name) })
		}
	}
	if e.DiskFree > 0 && e.Disk > e.DiskFree {
		if t.req.KeepLast > 1 || t.req.KeepEvery > 0 {
			mend(lang.L("Keep only the newest checkpoint"), func() {
				t.changed(func(r *studio.TrainRequest) { r.KeepLast, r.KeepEvery = 1, 0 })
			})
		}
		mend(lang.L("Open the folder"), func() { t.p.s.Reveal(t.p.s.Studio.Workspace.Path()) })
	}
	t.warnings.Refresh()
}

// changed shows the request with a change.
func (t *setup) changed(change func(*studio.TrainRequest)) {
	r := t.req
	change(&r)
	t.use(r)
}

// smaller is the largest preset that is smaller than the chosen one.
func (t *setup) smaller() (best studio.Preset, ok bool) {
	presets := t.p.s.Studio.Training.Presets()
	at := slices.IndexFunc(presets, func(p studio.Preset) bool { return p.Name == t.req.Preset })
	for _, p := range presets {
		if at >= 0 && p.Params < presets[at].Params && p.Params > best.Params {
			best, ok = p, true
		}
	}
	return best, ok
}

func of(need, free int64) string {
	if free <= 0 {
		return page.Bytes(need)
	}
	return lang.L("{{.Need}} of {{.Free}}", map[string]any{"Need": page.Bytes(need), "Free": page.Bytes(free)})
}

func (t *setup) start() {
	t.rest()
	req := t.req
	t.p.main.Disable()
	t.p.act(func(ctx context.Context) error { return t.p.s.Studio.Training.Start(ctx, req) }, func() {
		t.p.turn(true)
	})
}

func (t *setup) enqueue() {
	req := t.req
	t.p.act(func(ctx context.Context) error {
		_, err := t.p.s.Studio.Training.Enqueue(ctx, req)
		return err
	}, func() {
		t.p.s.Toast(lang.L("Added to the queue."))
		t.showQueue()
	})
}

func (t *setup) demo() {
	t.p.s.WithRuntime(func() {
		t.p.s.Run(lang.L("Starting the demo"), func(ctx context.Context, report func(page.Progress)) error {
			return t.p.s.Studio.Training.StartDemo(ctx, report)
		}, func(err error) {
			if err != nil {
				t.p.s.Fail(err)
				return
			}
			t.p.turn(true)
		})
	})
}

// showQueue lists what waits.
func (t *setup) showQueue() {
	tr := t.p.s.Studio.Training
	entries, snap := tr.Queue(), tr.Snapshot()
	t.queue.Objects = nil
	for i, e := range entries {
		title := e.Request.Name
		if title == "" {
			title = t.datasetName(e.Request.Dataset)
		}
		if e.Run != "" {
			title = lang.L("Continue {{.Run}}", map[string]any{"Run": e.Run})
		}
		up := kit.Button("", theme.MoveUpIcon(), widget.LowImportance, func() { t.move(e.ID, i-1) })
		down := kit.Button("", theme.MoveDownIcon(), widget.LowImportance, func() { t.move(e.ID, i+1) })
		kit.Show(i > 0, up)
		kit.Show(i < len(entries)-1, down)
		drop := kit.Button("", theme.DeleteIcon(), widget.LowImportance, func() {
			t.p.act(func(ctx context.Context) error { return tr.Remove(ctx, e.ID) }, func() {
				t.p.s.Undoable(lang.L("Taken out of the queue: {{.Name}}", map[string]any{"Name": title}))
				t.showQueue()
			})
		})
		about := fmt.Sprintf("%s · %s", e.Request.Preset, lang.L("{{.N}} steps", map[string]any{"N": page.Int(e.Request.Steps)}))
		note := kit.Caption(about)
		if e.Error.Template != "" {
			note.SetText(page.Sentence(e.Error))
			note.Importance = widget.DangerImportance
		}
		text := container.New(layout.NewCustomPaddedVBoxLayout(-10), kit.Ellipsis(title, false), note)
		t.queue.Add(container.NewBorder(nil, nil, nil, container.NewCenter(container.NewHBox(up, down, drop)), text))
	}
	if len(entries) > 0 {
		text, label := lang.L("The next one starts when the present one is done."), lang.L("Hold the queue")
		if snap.Held {
			text, label = lang.L("The queue is held: nothing starts by itself."), lang.L("Let it go on")
		}
		t.queue.Add(kit.Muted(text))
		t.queue.Add(container.NewHBox(kit.Button(label, nil, widget.MediumImportance, func() {
			t.p.act(func(ctx context.Context) error { return tr.Hold(ctx, !snap.Held) }, t.showQueue)
		})))
	}
	kit.Show(true, t.queueCard)
	if len(entries) == 0 {
		kit.Show(false, t.queueCard)
	}
	t.queue.Refresh()
}

func (t *setup) datasetName(id string) string {
	for _, d := range t.datasets {
		if d.ID == id {
			return d.Name
		}
	}
	return id
}

func (t *setup) move(id string, place int) {
	t.p.act(func(ctx context.Context) error { return t.p.s.Studio.Training.Reorder(ctx, id, place) }, t.showQueue)
}
