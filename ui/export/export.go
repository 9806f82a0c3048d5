// Package export asks what an export is to look like and where it goes, and writes it as a task.
package export

import (
	"context"
	"image"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/widgets/form"
	"unnoise/ui/widgets/runview"
)

// writer writes an export to a path.
type writer func(ctx context.Context, out string, report studio.ProgressFunc) error

// exporter is the dialog of every export: a choice of kinds, the options of the chosen kind, and the place.
type exporter struct {
	s     *page.Services
	name  string
	kinds []kind
	at    int
	path  *page.Entry
	mine  bool // the user chose the place; it is kept when the kind changes
	body  *fyne.Container
	about *widget.Label
	d     *dialog.ConfirmDialog
	all   fyne.CanvasObject
	view  *container.Scroll // of all
}

// kind is one way to export.
type kind struct {
	suggest string // for ExportService.Suggest
	label   string
	about   string
	options fyne.CanvasObject // may be nil
	write   func() writer     // reads the options on the UI thread
}

func (e *exporter) open(title string) {
	labels := make([]string, len(e.kinds))
	for i, k := range e.kinds {
		labels[i] = k.label
	}
	e.path = e.s.NewEntry()
	e.path.OnChanged = func(string) { e.mine = true }
	folder := kit.Button("", theme.FolderOpenIcon(), widget.MediumImportance, func() {
		e.s.PickFolder(func(dir string) {
			e.path.SetText(filepath.Join(dir, filepath.Base(e.path.Text)))
		})
	})
	e.about = kit.Muted("")
	e.body = container.NewVBox()
	var head fyne.CanvasObject = layout.NewSpacer()
	if len(e.kinds) > 1 {
		r := widget.NewRadioGroup(labels, func(l string) {
			e.s.LetGo() // or Escape would not close the dialog
			for i := range labels {
				if labels[i] == l {
					e.choose(i)
				}
			}
		})
		r.Required = true
		r.Horizontal = true
		var was string
		if e.s.Recall(e.part(), &was) {
			e.at = max(0, slices.IndexFunc(e.kinds, func(k kind) bool { return k.suggest == was }))
		}
		r.Selected = labels[e.at]
		head = container.NewHScroll(r)
	}
	place := kit.Row(lang.L("Save as"), "", container.NewBorder(nil, nil, nil, folder, e.path))
	e.all = container.NewVBox(head, e.about, e.body)
	e.view = container.NewVScroll(e.all)
	e.choose(e.at)
	e.d = dialog.NewCustomConfirm(title, lang.L("Export"), lang.L("Cancel"), container.NewBorder(nil, place, nil, nil, e.view), func(ok bool) {
		if ok {
			e.start()
		}
	}, e.s.Window)
	e.s.ShowDialog(e.d)
	e.fit()
	e.fit() // the height of wrapped text is known now
}

// fit makes the dialog as high as what it holds, or as the window allows.
func (e *exporter) fit() {
	size := e.s.Window.Canvas().Size()
	e.view.SetMinSize(fyne.NewSize(0, max(60, min(e.all.MinSize().Height, size.Height-190))))
	e.d.Resize(fyne.NewSize(min(620, size.Width-40), 0))
}

func (e *exporter) choose(i int) {
	e.at = i
	k := e.kinds[i]
	e.about.SetText(k.about)
	e.body.Objects = nil
	if k.options != nil {
		e.body.Objects = []fyne.CanvasObject{k.options}
	}
	e.body.Refresh()
	path := e.s.Studio.Export.Suggest(k.suggest, e.name)
	if e.mine {
		path = filepath.Join(filepath.Dir(e.path.Text), filepath.Base(path))
	}
	was := e.mine
	e.path.SetText(path)
	e.mine = was
	if e.d != nil {
		e.fit()
		e.fit()
	}
}

// part is the dialog's name among what is remembered: each sort of thing is exported in its own way.
func (e *exporter) part() string { return "export " + e.kinds[0].suggest }

func (e *exporter) start() {
	e.s.Remember(e.part(), e.kinds[e.at].suggest)
	write, out := e.kinds[e.at].write(), page.Path(e.path.Text)
	if out == "" {
		e.s.Toast(lang.L("Say where to save first."))
		return
	}
	e.s.Run(lang.L("Exporting"), func(ctx context.Context, report func(page.Progress)) error {
		return write(ctx, out, report)
	}, func(err error) {
		if err != nil {
			e.s.Fail(err)
			return
		}
		e.s.ToastWith(lang.L("Exported to {{.Path}}", map[string]any{"Path": out}), lang.L("Show"), func() { e.s.Reveal(out) })
	})
}

// whole is an entry for a whole number; the function reads it, and gives the fallback while it is not valid.
func whole(s *page.Services, value, lo, hi int) (*form.Entry, func() int) {
	check := form.Whole(int64(lo), int64(hi))
	e := form.NewEntry(s, strconv.Itoa(value), check, nil)
	return e, func() int {
		if v, err := strconv.Atoi(strings.TrimSpace(e.Entry.Text)); err == nil && check(e.Entry.Text) == nil {
			return v
		}
		return value
	}
}

// Images exports pictures of galleries: as PNG files, one contact sheet, or a zip.
func Images(s *page.Services, name string, refs []studio.Ref) {
	if len(refs) == 0 {
		s.Toast(lang.L("Select pictures first."))
		return
	}
	meta := func() *kit.Check {
		c := kit.NewCheck(lang.L("Keep the metadata (how each picture was made) in the files"), func(bool) { s.LetGo() })
		c.Checked = true
		return c
	}
	pngMeta, zipMeta, sheetMeta := meta(), meta(), meta()
	pngScale, pngScaleOf := whole(s, 1, 1, 32)
	zipScale, zipScaleOf := whole(s, 1, 1, 32)
	single := func(scale *form.Entry, meta *kit.Check) fyne.CanvasObject {
		return container.NewVBox(kit.Row(lang.L("Enlarge"), lang.L("Whole-number magnification with crisp pixels."), scale), meta)
	}
	sheetMeta.Text = lang.L("Keep the settings of the first picture in the file")
	cols, colsOf := whole(s, 0, 0, 1000)
	spacing, spacingOf := whole(s, 2, 0, 256)
	scale, scaleOf := whole(s, 1, 1, 32)
	labels := kit.NewCheck(lang.L("Label each picture with its class and seed"), func(bool) { s.LetGo() })
	sheet := container.NewVBox(
		kit.Row(lang.L("Columns"), lang.L("0 makes the sheet about square."), cols),
		kit.Row(lang.L("Spacing"), lang.L("Pixels between the pictures and around them."), spacing),
		kit.Row(lang.L("Enlarge"), lang.L("Whole-number magnification with crisp pixels."), scale), labels, sheetMeta)
	n := map[string]any{"N": page.Int(len(refs))}
	x := &exporter{s: s, name: name, kinds: []kind{
		{"images", lang.L("PNG files"), lang.L("Each picture becomes a PNG file in one folder. Pictures: {{.N}}", n), single(pngScale, pngMeta), func() writer {
			opt := studio.PNGOptions{Metadata: pngMeta.Checked, Scale: pngScaleOf()}
			return func(ctx context.Context, out string, report studio.ProgressFunc) error {
				_, err := s.Studio.Export.Images(ctx, refs, out, opt, report)
				return err
			}
		}},
		{"sheet", lang.L("Contact sheet"), lang.L("One PNG with all pictures side by side. Pictures: {{.N}}", n), sheet, func() writer {
			opt := studio.SheetOptions{Columns: colsOf(), Spacing: spacingOf(), Scale: scaleOf(), Labels: labels.Checked, Metadata: sheetMeta.Checked}
			return func(ctx context.Context, out string, report studio.ProgressFunc) error {
				return s.Studio.Export.Sheet(ctx, refs, out, opt, report)
			}
		}},
		{"zip", lang.L("Zip"), lang.L("One zip file of PNG files. Pictures: {{.N}}", n), single(zipScale, zipMeta), func() writer {
			opt := studio.PNGOptions{Metadata: zipMeta.Checked, Scale: zipScaleOf()}
			return func(ctx context.Context, out string, report studio.ProgressFunc) error {
				return s.Studio.Export.Zip(ctx, refs, out, opt, report)
			}
		}},
	}}
	x.open(lang.L("Export pictures"))
}

// animations makes the three kinds of animation over one set of options.
func animations(s *page.Services, fps, scale int, write func(ctx context.Context, out string, opt studio.AnimationOptions, report studio.ProgressFunc) error, extra ...fyne.CanvasObject) []kind {
	fpsEntry, fpsOf := whole(s, fps, 1, 60)
	holdEntry, holdOf := whole(s, 2, 0, 30)
	scaleEntry, scaleOf := whole(s, scale, 1, 32)
	opts := container.NewVBox(append(extra,
		kit.Row(lang.L("Frames per second"), "", fpsEntry),
		kit.Row(lang.L("Hold the last frame"), lang.L("Seconds before it begins again."), holdEntry),
		kit.Row(lang.L("Enlarge"), lang.L("Whole-number magnification with crisp pixels."), scaleEntry))...)
	mk := func(format, label, about string) kind {
		return kind{format, label, about, opts, func() writer {
			opt := studio.AnimationOptions{Format: format, FPS: float64(fpsOf()), Hold: float64(holdOf()), Scale: scaleOf()}
			return func(ctx context.Context, out string, report studio.ProgressFunc) error {
				return write(ctx, out, opt, report)
			}
		}}
	}
	return []kind{
		mk("gif", "GIF", lang.L("Opens everywhere; at most 256 colours a frame.")),
		mk("apng", "APNG", lang.L("Exact colours; opens in browsers and most viewers.")),
		mk("webp", "WebP", lang.L("Exact colours and small; opens in browsers.")),
	}
}

// Frames exports pictures in order as an animation: a trajectory, or a walk between two seeds.
func Frames(s *page.Services, name string, frames []*image.RGBA) {
	if len(frames) == 0 {
		s.Toast(lang.L("There is nothing to export yet."))
		return
	}
	scale := max(1, 256/max(frames[0].Rect.Dx(), 1))
	x := &exporter{s: s, name: name, kinds: animations(s, 8, scale, func(ctx context.Context, out string, opt studio.AnimationOptions, report studio.ProgressFunc) error {
		return s.Studio.Export.Frames(ctx, frames, out, opt, report)
	})}
	x.open(lang.L("Export an animation of {{.N}} frames", map[string]any{"N": len(frames)}))
}

// TimeLapse exports a run's sample grids as an animation of its learning.
func TimeLapse(s *page.Services, run studio.Run) {
	page.Load(s, func(ctx context.Context) ([]studio.Grid, error) { return s.Studio.Runs.Grids(ctx, run.ID) }, func(gs []studio.Grid, err error) {
		if err != nil {
			s.Fail(err)
			return
		}
		var names, codes []string
		for _, g := range gs {
			known := false
			for _, c := range codes {
				known = known || c == g.Weights
			}
			if !known {
				codes, names = append(codes, g.Weights), append(names, runview.WeightsName(g.Weights))
			}
		}
		if len(codes) == 0 {
			s.Toast(lang.L("This run has no sample grids yet."))
			return
		}
		pick := kit.NewSelect(names, nil)
		pick.SetSelectedIndex(0)
		x := &exporter{s: s, name: run.Name, kinds: animations(s, 6, 2, func(ctx context.Context, out string, opt studio.AnimationOptions, report studio.ProgressFunc) error {
			return s.Studio.Export.TimeLapse(ctx, run.ID, codes[max(pick.SelectedIndex(), 0)], out, opt, report)
		}, kit.Row(lang.L("Weights"), "", pick))}
		x.open(lang.L("Export the training as a time-lapse"))
	})
}

// Model exports a model's weights as a diffusers folder or an ONNX file; checkpoint −1 is the newest.
func Model(s *page.Services, model string, checkpoint int64) {
	type found struct {
		m  studio.Model
		cs []studio.Checkpoint
	}
	page.Load(s, func(ctx context.Context) (f found, err error) {
		if f.m, err = s.Studio.Models.Get(ctx, model); err != nil || f.m.Imported {
			return f, err
		}
		f.cs, err = s.Studio.Runs.Checkpoints(ctx, model)
		return f, err
	}, func(f found, err error) {
		m := f.m
		if err != nil {
			s.Fail(err)
			return
		}
		choices, steps := page.Checkpoints(f.cs)
		which := kit.NewSelect(choices, nil)
		which.SetSelectedIndex(max(slices.Index(steps, checkpoint), 0))
		names := make([]string, len(m.Weights))
		for i, w := range m.Weights {
			names[i] = runview.WeightsName(w)
		}
		pick := kit.NewSelect(names, nil)
		if len(names) > 0 {
			pick.SetSelectedIndex(0)
		}
		row := container.NewVBox(kit.Row(lang.L("Weights"), lang.L("The moving average (EMA) usually draws better than the raw weights."), pick))
		if !m.Imported {
			row.Objects = slices.Insert(row.Objects, 0, kit.Row(lang.L("Checkpoint"), "", which))
		}
		mk := func(format, label, about string) kind {
			return kind{format, label, about, row, func() writer {
				w, at := "", steps[max(which.SelectedIndex(), 0)]
				if i := pick.SelectedIndex(); i >= 0 {
					w = m.Weights[i]
				}
				return func(ctx context.Context, out string, report studio.ProgressFunc) error {
					return s.Studio.Export.Model(ctx, model, at, w, format, out, report)
				}
			}}
		}
		x := &exporter{s: s, name: m.Name, kinds: []kind{
			mk("diffusers", lang.L("diffusers folder"), lang.L("A folder that DDPMPipeline or DDIMPipeline of the Python library diffusers opens.")),
			mk("onnx", "ONNX", lang.L("One file that any ONNX runtime opens: inputs sample and timestep, output out_sample.")),
		}}
		x.open(lang.L("Export the model {{.Name}}", map[string]any{"Name": m.Name}))
	})
}
