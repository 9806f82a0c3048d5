package gallery

import (
	"context"
	"fmt"
	"image"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/widgets/form"
	"unnoise/ui/widgets/runview"
)

// previews is how many pictures are watched while they come about.
const previews = 16

// creation is the dialog in which a gallery is described and watched while it is sampled.
type creation struct {
	p        *Page
	d        *dialog.CustomDialog
	req      studio.SampleRequest
	filling  bool
	checking int
	problems []studio.Problem

	models      []studio.Model
	checkpoints []studio.Checkpoint
	choices     []int64 // of the checkpoint: see page.Checkpoints
	weights     []string
	samplers    []studio.SamplerInfo

	model, checkpoint, weight, sampler, class, into *kit.Select
	help                                            *widget.Label
	steps, eta, seed, count                         *form.Entry
	clip                                            *kit.Check
	name                                            *page.Entry
	etaRow, classRow, nameRow, checkRow             fyne.CanvasObject
	fields                                          *fyne.Container
	pictures                                        []*kit.Picture
	hint                                            *widget.Label
	time                                            *widget.Label // how long it will take
	make                                            *kit.Action
	hide                                            *widget.Button
	progress                                        *form.Progress

	task   *page.Task
	latest atomic.Pointer[studio.SampleProgress]
	faces  atomic.Pointer[[]*image.RGBA]
	shown  *[]*image.RGBA
}

// create opens the dialog on a request.
func (p *Page) create(req studio.SampleRequest) {
	if p.creating != nil {
		p.s.ShowDialog(p.creating.d)
		return
	}
	c := &creation{p: p, req: req, samplers: p.s.Studio.Galleries.Samplers()}
	c.build()
	p.creating = c
	c.load()
}

func (c *creation) build() {
	s := c.p.s
	pick := func(changed func(i int)) *kit.Select {
		sel := kit.NewSelect(nil, nil)
		sel.PlaceHolder = "–"
		sel.OnChanged = func(string) {
			if i := sel.SelectedIndex(); !c.filling && i >= 0 {
				changed(i)
				c.check()
			}
		}
		return sel
	}
	c.model = pick(func(i int) {
		c.req.Model, c.req.Checkpoint, c.req.Weights, c.req.Class = c.models[i].ID, studio.NewestCheckpoint, "", ""
		c.loadModel()
	})
	c.checkpoint = pick(func(i int) {
		c.req.Checkpoint = c.choices[i]
		c.fillWeights()
	})
	c.weight = pick(func(i int) { c.req.Weights = c.weights[i] })
	c.class = pick(func(i int) {
		c.req.Class = ""
		if i > 0 {
			c.req.Class = c.class.Options[i]
		}
	})
	c.into = pick(func(i int) {
		c.req.Gallery = ""
		if i > 0 {
			c.req.Gallery = c.p.galleries[i-1].ID
		}
		c.toggleName()
	})
	names := make([]string, len(c.samplers))
	for i, x := range c.samplers {
		names[i] = page.Text(x.Label)
	}
	c.sampler = pick(func(i int) {
		c.req.Sampler, c.req.Steps = c.samplers[i].Name, c.samplers[i].Steps
		c.steps.SetText(strconv.Itoa(c.req.Steps))
		c.fillSampler()
	})
	c.sampler.Options = names
	c.help = kit.Muted("")
	c.steps = form.NewEntry(s, "", func(t string) error {
		x := c.info()
		return form.Whole(int64(max(x.Min, 1)), int64(max(x.Max, 1)))(t)
	}, func(t string) { c.number(t, func(v int) { c.req.Steps = v }) })
	c.eta = form.NewEntry(s, "", form.Real(0, 1), func(t string) {
		if v, err := strconv.ParseFloat(strings.TrimSpace(t), 64); err == nil {
			c.req.Eta = v
			c.check()
		}
	})
	c.seed = form.NewEntry(s, "", form.Whole(0, 1<<62), func(t string) {
		if v, err := strconv.ParseUint(strings.TrimSpace(t), 10, 64); err == nil {
			c.req.Seed = v
			c.check()
		}
	})
	dice := kit.Button("", icons.Dice, widget.LowImportance, func() {
		c.req.Seed = uint64(rand.Uint32())
		c.seed.SetText(strconv.FormatUint(c.req.Seed, 10))
		c.check()
	})
	c.count = form.NewEntry(s, "", form.Whole(1, 100_000), func(t string) { c.number(t, func(v int) { c.req.Count = v }) })
	for _, e := range []*form.Entry{c.steps, c.eta, c.seed, c.count} {
		e.OnInvalid = c.update
	}
	c.clip = kit.NewCheck("", func(on bool) {
		c.req.Clip = on
		c.check()
	})
	c.name = s.NewEntry()
	c.name.SetPlaceHolder(lang.L("Made up from the model"))
	c.name.OnChanged = func(t string) { c.req.Name = t }
	c.nameRow = kit.Row(lang.L("Name"), "", c.name)
	c.etaRow = kit.Row("η", lang.L("0 repeats itself for a seed; 1 adds as much fresh noise as DDPM."), c.eta)
	c.classRow = kit.Row(lang.L("Class"), "", c.class)
	kit.Show(false, c.classRow)
	c.checkRow = kit.Row(lang.L("Checkpoint"), "", c.checkpoint)
	c.fields = container.New(layout.NewCustomPaddedVBoxLayout(2),
		kit.Row(lang.L("Model"), "", c.model), c.checkRow, kit.Row(lang.L("Weights"), "", c.weight),
		kit.Row(lang.L("Sampler"), "", c.sampler), c.help, kit.Row(lang.L("Steps"), "", c.steps), c.etaRow, c.classRow,
		kit.Row(lang.L("Pictures"), "", c.count),
		kit.Row(lang.L("Seed"), lang.L("The same seed and settings give the same pictures."), container.NewBorder(nil, nil, nil, dice, c.seed)),
		kit.Row(lang.L("Into"), "", c.into), c.nameRow,
		kit.Row(lang.L("Clip x̂0"), lang.L("Keeps it within the range of pictures at each step."), c.clip))

	grid := container.New(squares{4})
	for range previews {
		pic := kit.NewCell(40, 40)
		c.pictures = append(c.pictures, pic)
		grid.Add(pic)
	}
	c.hint = kit.Muted(lang.L("While the pictures are sampled, this shows what the network expects each of them to become (x̂0)."))
	c.progress = form.NewProgress(func() {
		if c.task != nil {
			c.task.Cancel()
		}
	})
	kit.Show(false, c.progress)
	c.make = kit.NewAction(lang.L("Sample"), theme.MediaPlayIcon(), c.start)
	c.make.Button.Importance = widget.HighImportance
	c.make.SetReason(lang.L("Reading the models…"))
	c.time = kit.Muted("")
	c.time.Wrapping = fyne.TextWrapOff
	c.hide = kit.Button(lang.L("Close"), nil, widget.MediumImportance, c.close)
	right := container.NewBorder(nil, container.NewVBox(c.hint, c.progress), nil, nil, grid)
	body := container.NewBorder(nil, container.NewHBox(c.time, layout.NewSpacer(), c.make, c.hide), nil, nil,
		container.New(halves{}, container.NewVScroll(kit.Pad(0, 0, 0, 14, c.fields)), right))
	c.d = dialog.NewCustomWithoutButtons(lang.L("New gallery"), body, s.Window)
	size := s.Window.Canvas().Size()
	c.d.Resize(fyne.NewSize(min(940, size.Width-40), min(640, size.Height-40)))
	c.d.SetOnClosed(func() {
		if c.p.creating == c && c.task == nil {
			c.p.creating = nil
		}
	})
	s.ShowDialog(c.d)
}

// halves gives the form what it needs and the previews the rest.
type halves struct{}

func (halves) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(560, 300) }

func (halves) Layout(objs []fyne.CanvasObject, s fyne.Size) {
	w := max(s.Width-400, s.Width*0.5)
	objs[0].Resize(fyne.NewSize(w-16, s.Height))
	objs[1].Resize(fyne.NewSize(s.Width-w, s.Height))
	objs[1].Move(fyne.NewPos(w, 0))
}

// squares lays objects in so many columns of squares, as large as there is room for.
type squares struct{ columns int }

// MinSize implements fyne.Layout.
func (l squares) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(120, 120) }

// Layout implements fyne.Layout.
func (l squares) Layout(objs []fyne.CanvasObject, s fyne.Size) {
	rows := (len(objs) + l.columns - 1) / l.columns
	side := min(s.Width/float32(l.columns), s.Height/float32(max(rows, 1)))
	for i, o := range objs {
		o.Resize(fyne.NewSize(side-4, side-4))
		o.Move(fyne.NewPos(float32(i%l.columns)*side, float32(i/l.columns)*side))
	}
}

func (c *creation) number(t string, set func(int)) {
	if v, err := strconv.Atoi(strings.TrimSpace(t)); err == nil {
		set(v)
		c.check()
	}
}

func (c *creation) info() studio.SamplerInfo {
	for _, x := range c.samplers {
		if x.Name == c.req.Sampler {
			return x
		}
	}
	return studio.SamplerInfo{Min: 1, Max: 1000}
}

// load reads the models and shows the request.
func (c *creation) load() {
	page.Load(c.p.s, c.p.s.Studio.Models.List, func(ms []studio.Model, err error) {
		if err != nil {
			c.p.s.Fail(err)
			return
		}
		c.models = ms
		c.filling = true
		c.model.Options = nil
		for _, m := range ms {
			name := m.Name
			if slices.Contains(c.model.Options, name) {
				name += " (" + m.ID + ")"
			}
			c.model.Options = append(c.model.Options, name)
		}
		c.model.SetSelectedIndex(slices.IndexFunc(ms, func(m studio.Model) bool { return m.ID == c.req.Model }))
		c.into.Options = []string{lang.L("A new gallery")}
		at := 0
		for i, g := range c.p.galleries {
			c.into.Options = append(c.into.Options, g.Name)
			if g.ID == c.req.Gallery {
				at = i + 1
			}
		}
		c.into.SetSelectedIndex(at)
		c.sampler.SetSelectedIndex(slices.IndexFunc(c.samplers, func(x studio.SamplerInfo) bool { return x.Name == c.req.Sampler }))
		c.steps.SetText(strconv.Itoa(c.req.Steps))
		c.eta.SetText(strconv.FormatFloat(c.req.Eta, 'g', -1, 64))
		c.seed.SetText(strconv.FormatUint(c.req.Seed, 10))
		c.count.SetText(strconv.Itoa(c.req.Count))
		c.clip.SetChecked(c.req.Clip)
		c.name.SetText(c.req.Name)
		c.filling = false
		c.toggleName()
		c.fillSampler()
		if c.model.SelectedIndex() < 0 && len(ms) > 0 { // the one that was remembered is gone
			c.model.SetSelectedIndex(0)
		} else {
			c.loadModel()
		}
		c.check()
	})
}

// loadModel reads the classes and checkpoints of the chosen model.
func (c *creation) loadModel() {
	id := c.req.Model
	c.checkpoints, c.weights = nil, nil
	if id == "" {
		return
	}
	type result struct {
		m  studio.Model
		cs []studio.Checkpoint
	}
	page.Load(c.p.s, func(ctx context.Context) (result, error) {
		var r result
		var err error
		if r.m, err = c.p.s.Studio.Models.Get(ctx, id); err != nil || r.m.Imported {
			return r, err
		}
		r.cs, err = c.p.s.Studio.Runs.Checkpoints(ctx, id)
		return r, err
	}, func(r result, err error) {
		if err != nil {
			c.p.s.Fail(err)
			return
		}
		if c.req.Model != id {
			return
		}
		kit.Show(len(r.m.Classes) > 1, c.classRow)
		kit.Show(!r.m.Imported, c.checkRow)
		c.checkpoints, c.weights = r.cs, r.m.Weights
		c.filling = true
		c.class.Options = append([]string{lang.L("Any")}, r.m.Classes...)
		c.class.SetSelectedIndex(max(slices.Index(r.m.Classes, c.req.Class), -1) + 1)
		c.checkpoint.Options, c.choices = page.Checkpoints(r.cs)
		c.checkpoint.SetSelectedIndex(max(slices.Index(c.choices, c.req.Checkpoint), 0))
		c.filling = false
		c.fillWeights()
		c.fields.Refresh()
	})
}

func (c *creation) fillWeights() {
	for i, k := range c.checkpoints {
		if k.Step == c.req.Checkpoint || i == 0 && c.req.Checkpoint == studio.NewestCheckpoint || k.Best && c.req.Checkpoint == studio.BestCheckpoint {
			c.weights = k.Weights
		}
	}
	c.filling = true
	c.weight.Options = nil
	for _, w := range c.weights {
		c.weight.Options = append(c.weight.Options, runview.WeightsName(w))
	}
	c.weight.SetSelectedIndex(min(max(slices.Index(c.weights, c.req.Weights), 0), len(c.weights)-1))
	c.filling = false
}

func (c *creation) fillSampler() {
	x := c.info()
	c.help.SetText(page.Text(x.Help))
	kit.Show(x.UsesEta, c.etaRow)
	c.fields.Refresh() // the height of the wrapped text has changed
}

func (c *creation) toggleName() { kit.Show(c.req.Gallery == "", c.nameRow) }

// check asks why the request could not start.
func (c *creation) check() {
	if c.filling {
		return
	}
	c.checking++
	n, req := c.checking, c.req
	page.Load(c.p.s, func(ctx context.Context) (time.Duration, error) { return c.p.s.Studio.Galleries.Time(ctx, req) },
		func(d time.Duration, err error) {
			if n != c.checking {
				return
			}
			text := ""
			if err == nil && d > 0 {
				text = lang.L("Takes about {{.Time}}.", map[string]any{"Time": page.Duration(max(d, time.Second))})
			}
			c.time.SetText(text)
		})
	c.p.s.Remember(remembered, req)
	page.Load(c.p.s, func(ctx context.Context) ([]studio.Problem, error) { return c.p.s.Studio.Galleries.Check(ctx, req) },
		func(ps []studio.Problem, err error) {
			if n != c.checking {
				return
			}
			if err != nil {
				ps = []studio.Problem{{Text: studio.Text{Template: page.Sentence(err)}}}
			}
			c.problems = ps
			c.update()
		})
}

func (c *creation) update() {
	why := ""
	for _, e := range []*form.Entry{c.steps, c.eta, c.seed, c.count} {
		if e.Problem() != "" {
			why = e.Problem()
		}
	}
	if len(c.problems) > 0 {
		why = page.Sentence(c.problems[0].Text)
	}
	c.make.SetReason(why)
}

// start samples; the dialog may be closed meanwhile, the work goes on.
func (c *creation) start() {
	req := c.req
	c.faces.Store(nil)
	kit.Show(false, c.make)
	c.progress.Reset()
	kit.Show(true, c.progress)
	c.hide.SetText(lang.L("Go on in the background"))
	var made studio.Gallery
	c.task = c.p.s.Run(lang.L("Sampling a gallery"), func(ctx context.Context, report func(page.Progress)) error {
		g, err := c.p.s.Studio.Galleries.Create(ctx, req, func(sp studio.SampleProgress) {
			if len(sp.Previews) > 0 {
				f := sp.Previews
				c.faces.Store(&f)
			}
			sp.Previews = nil
			c.latest.Store(&sp)
			report(page.Progress{Done: int64(sp.Done), Total: int64(sp.Total), ETA: sp.ETA})
		})
		made = g
		return err
	}, func(err error) {
		stopped := c.task.Stopping()
		c.task = nil
		kit.Show(false, c.progress)
		kit.Show(true, c.make)
		c.hide.SetText(lang.L("Close"))
		if err != nil {
			c.p.s.Fail(err)
		}
		if err == nil || (stopped && made.ID != "") {
			if c.p.creating == c {
				c.close()
			}
			if made.ID != "" {
				c.p.open = made.ID
			}
			c.p.s.Toast(lang.L("The gallery is ready."))
		}
		c.p.load()
	})
}

// tick shows the previews and how far it has come.
func (c *creation) tick() {
	if f := c.faces.Load(); f != nil && f != c.shown {
		c.shown = f
		for i, pic := range c.pictures {
			if i < len(*f) {
				pic.Set((*f)[i])
			} else {
				pic.Set(nil)
			}
		}
	}
	sp := c.latest.Load()
	if c.task == nil || sp == nil {
		return
	}
	text := fmt.Sprintf("%s · %s", lang.L("{{.N}} of {{.Total}} pictures", map[string]any{"N": page.Int(sp.Done), "Total": page.Int(sp.Total)}),
		lang.L("step {{.Step}}", map[string]any{"Step": stepOf(sp.Step, sp.Steps)}))
	if sp.ETA > 0 {
		text += " · " + lang.L("about {{.Time}} left", map[string]any{"Time": page.Duration(sp.ETA)})
	}
	f := -1.0
	if sp.Total > 0 && sp.Steps > 0 {
		batch := 0
		if faces := c.faces.Load(); faces != nil {
			batch = min(len(*faces), sp.Total-sp.Done)
		}
		f = (float64(sp.Done) + float64(batch)*float64(sp.Step)/float64(sp.Steps)) / float64(sp.Total)
	}
	c.progress.Set(f, text)
}

// close puts the dialog away; while it samples, the work goes on, and the dialog can be opened again.
func (c *creation) close() { c.d.Hide() }
