package runs

import (
	"context"
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/kit"
	"unnoise/ui/page"
)

// setting is one line of the comparison of runs' settings.
type setting struct {
	name   string
	values []string // of each run
}

// differs tells whether the runs do not have it in common.
func (s setting) differs() bool {
	return slices.ContainsFunc(s.values, func(v string) bool { return v != s.values[0] })
}

// settingsOf are the settings of runs, in the order of the form.
func settingsOf(fields []studio.Field, presets []studio.Preset, reqs []studio.TrainRequest) []setting {
	row := func(name string, of func(studio.TrainRequest) string) setting {
		s := setting{name: name}
		for _, r := range reqs {
			s.values = append(s.values, of(r))
		}
		return s
	}
	out := []setting{
		row(lang.L("Dataset"), func(r studio.TrainRequest) string { return r.Dataset }),
		row(lang.L("Network"), func(r studio.TrainRequest) string {
			for _, p := range presets {
				if p.Name == r.Preset {
					return page.Text(p.Label)
				}
			}
			return r.Preset
		}),
	}
	for _, f := range fields {
		if f.Key == "device" || f.Key == "threads" { // of the computer, not of the run
			continue
		}
		out = append(out, row(page.Text(f.Label), func(r studio.TrainRequest) string { return fieldText(f, r) }))
	}
	return out
}

// fieldText is a setting as people read it.
func fieldText(f studio.Field, r studio.TrainRequest) string {
	v := f.Get(r)
	switch f.Kind {
	case studio.ChoiceField:
		for _, c := range f.Choices {
			if c.Value == v {
				return page.Text(c.Label)
			}
		}
	case studio.BoolField:
		if v == "true" {
			return lang.L("on")
		}
		return lang.L("off")
	case studio.NumberField, studio.FloatField:
	}
	return v
}

// settingsTable shows settings in columns, one for each run; heads may be nil.
func settingsTable(heads []string, rows []setting) fyne.CanvasObject {
	n := 1
	if len(rows) > 0 {
		n = len(rows[0].values)
	}
	grid := container.NewGridWithColumns(1 + n)
	if len(heads) > 0 {
		grid.Add(widget.NewLabel(""))
		for _, h := range heads {
			grid.Add(kit.Ellipsis(h, true))
		}
	}
	for _, r := range rows {
		name := kit.Ellipsis(r.name, false)
		name.Importance = widget.LowImportance
		grid.Add(name)
		for _, v := range r.values {
			l := kit.Ellipsis(v, n > 1 && r.differs())
			l.Selectable = true
			grid.Add(l)
		}
	}
	return grid
}

// compareSettings shows in what the ticked runs differ.
func (p *Page) compareSettings() {
	var ids, heads []string
	for _, r := range p.runs {
		if p.marked[r.ID] && len(ids) < maxRuns {
			ids = append(ids, r.ID)
			name := r.Name
			if r.Number > 0 {
				name = page.Int(r.Number) + " " + name
			}
			heads = append(heads, name)
		}
	}
	if len(ids) < 2 {
		p.s.Toast(lang.L("Tick at least two runs to compare their settings."))
		return
	}
	page.Load(p.s, func(ctx context.Context) ([]studio.TrainRequest, error) {
		var out []studio.TrainRequest
		for _, id := range ids {
			r, err := p.s.Studio.Runs.Settings(ctx, id)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
		return out, nil
	}, func(reqs []studio.TrainRequest, err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		all := settingsOf(p.s.Studio.Training.Fields(), p.s.Studio.Training.Presets(), reqs)
		body := container.NewStack()
		fill := func(whole bool) {
			rows := slices.DeleteFunc(slices.Clone(all), func(s setting) bool { return !whole && !s.differs() })
			if len(rows) == 0 {
				body.Objects = []fyne.CanvasObject{kit.Muted(lang.L("These runs have the same settings."))}
			} else {
				body.Objects = []fyne.CanvasObject{container.NewVScroll(container.NewVBox(settingsTable(heads, rows)))}
			}
			body.Refresh()
		}
		fill(false)
		whole := kit.NewCheck(lang.L("Show what is the same, too"), fill)
		d := dialog.NewCustom(lang.L("Settings that differ"), lang.L("Close"), container.NewBorder(whole, nil, nil, nil, body), p.s.Window)
		size := p.s.Window.Canvas().Size()
		d.Resize(fyne.NewSize(min(size.Width-60, float32(260+220*len(ids))), min(size.Height-60, 620)))
		p.s.ShowDialog(d)
	})
}
