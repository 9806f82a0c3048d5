package settings

import (
	"context"
	"path/filepath"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/kit"
	"unnoise/ui/page"
)

// findingsShown is how many findings the dialog lists; “unnoise check” lists all.
const findingsShown = 100

// check compares all files with their hashes and shows what was found; with mend, it makes good what can be.
func (p *Page) check(mend bool) {
	title := lang.L("Checking all files")
	if mend {
		title = lang.L("Repairing")
	}
	var rep *studio.CheckReport
	p.s.Run(title, func(ctx context.Context, report func(page.Progress)) (err error) {
		rep, err = p.s.Studio.Workspace.Check(ctx, mend, report)
		return err
	}, func(err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.showReport(rep)
	})
}

func (p *Page) showReport(rep *studio.CheckReport) {
	rows := container.NewVBox(
		kit.Heading(page.Text(rep.Summary())),
		kit.Text(lang.L("{{.Size}} were read: {{.Runs}} runs with {{.Checkpoints}} checkpoints, {{.Pictures}} pictures, {{.Datasets}} datasets and {{.Models}} models.", map[string]any{
			"Size": page.Bytes(rep.Bytes), "Runs": page.Int(rep.Runs), "Checkpoints": page.Int(rep.Checkpoints),
			"Pictures": page.Int(rep.Pictures), "Datasets": page.Int(rep.Datasets), "Models": page.Int(rep.Models),
		})),
	)
	if rep.Unhashed > 0 {
		rows.Add(kit.Muted(lang.L("{{.N}} pictures of older versions carry no hash. They can be read.", map[string]any{"N": page.Int(rep.Unhashed)})))
	}
	for i, f := range rep.Findings {
		if i == findingsShown {
			rows.Add(kit.Muted(lang.L("…and {{.N}} more", map[string]any{"N": len(rep.Findings) - findingsShown})))
			break
		}
		path := f.Path
		if rel, err := filepath.Rel(rep.Path, path); err == nil && filepath.IsLocal(rel) {
			path = rel
		}
		what := kit.Text(page.Text(f.What))
		what.Selectable = true
		rows.Add(widget.NewSeparator())
		rows.Add(kit.Ellipsis(stateName(f.State)+" · "+path, true))
		rows.Add(what)
		rows.Add(kit.Muted(page.Text(f.Do)))
	}
	scroll := container.NewVScroll(rows)
	title := lang.L("The files of the workspace")
	var d dialog.Dialog
	if rep.Count(studio.CheckMendable) > 0 {
		d = dialog.NewCustomConfirm(title, lang.L("Repair"), lang.L("Close"), scroll, func(yes bool) {
			if yes {
				p.check(true)
			}
		}, p.s.Window)
	} else {
		d = dialog.NewCustom(title, lang.L("Close"), scroll, p.s.Window)
	}
	height := float32(220)
	if len(rep.Findings) > 0 {
		height = 440
	}
	d.Resize(fyne.NewSize(640, height))
	p.s.ShowDialog(d)
}

func stateName(s studio.CheckState) string {
	switch s {
	case studio.CheckLost:
		return lang.L("Lost")
	case studio.CheckMendable:
		return lang.L("Can be repaired")
	case studio.CheckMended:
		return lang.L("Repaired")
	default:
		return lang.L("Could not be read")
	}
}
