package ui

import (
	"fmt"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	uitheme "unnoise/ui/theme"
)

// statusBar shows the running job and the newest task on every page.
type statusBar struct {
	s      *page.Services
	object fyne.CanvasObject

	job     *widget.Button
	jobBar  *kit.Meter
	task    *widget.Label
	taskBar *kit.Meter
	cancel  *widget.Button
	panel   *widget.Button
	current *page.Task
}

func newStatusBar(s *page.Services, togglePanel, showKeys func()) *statusBar {
	b := &statusBar{s: s, jobBar: kit.NewMeter(120), taskBar: kit.NewMeter(100)}
	b.job = kit.Button("", nil, widget.LowImportance, func() { s.Navigate(page.Train, nil) })
	b.task = widget.NewLabel("")
	b.task.Truncation = fyne.TextTruncateEllipsis
	b.task.SizeName = theme.SizeNameCaptionText
	b.cancel = kit.Button(lang.L("Cancel"), nil, widget.LowImportance, func() {
		if b.current != nil {
			b.current.Cancel()
		}
	})
	b.panel = kit.Button(lang.L("Details"), icons.Panel, widget.LowImportance, togglePanel)
	keys := kit.Button(lang.L("Keys"), nil, widget.LowImportance, showKeys)
	left := container.NewHBox(b.job, container.NewCenter(b.jobBar))
	right := container.NewHBox(container.NewCenter(b.taskBar), b.cancel, b.panel, keys)
	row := container.NewBorder(nil, nil, left, right, b.task)
	b.object = kit.NewSurface(uitheme.ColorNameRail, "", 0, kit.Pad(0, 0, 8, 8, row))
	b.tick()
	return b
}

// tick reads the snapshots and redraws what has changed.
func (b *statusBar) tick() {
	snap := b.s.Job()
	if text := jobLine(snap); text != b.job.Text {
		b.job.SetText(text)
	}
	if snap.Busy() && snap.Steps > 0 {
		b.jobBar.Set(float64(snap.Step) / float64(snap.Steps))
	} else {
		kit.Show(false, b.jobBar)
	}
	tasks := b.s.Tasks()
	if len(tasks) == 0 {
		if b.current != nil || b.task.Text != "" || b.cancel.Visible() {
			b.current = nil
			b.task.SetText("")
			kit.Show(false, b.cancel)
		}
		kit.Show(false, b.taskBar)
		return
	}
	t := tasks[len(tasks)-1]
	b.current = t
	if text := taskLine(t, len(tasks)); text != b.task.Text {
		b.task.SetText(text)
	}
	kit.Show(true, b.cancel)
	if t.Stopping() {
		b.cancel.Disable()
	} else {
		b.cancel.Enable()
	}
	b.taskBar.Set(t.Fraction())
}

// jobLine says in one line what the job does.
func jobLine(s studio.Snapshot) string {
	steps := func() string {
		return lang.L("step {{.Step}} of {{.Steps}}", map[string]any{"Step": page.Int(s.Step), "Steps": page.Int(s.Steps)})
	}
	if s.Busy() {
		line := page.JobState(s.State)
		if s.Name != "" {
			line += " · " + short(s.Name, 24)
		}
		rest := ""
		switch s.State {
		case studio.JobStarting, studio.JobStopping:
			rest = page.Text(s.Phase)
		case studio.JobSampling:
			rest = fmt.Sprintf("%d / %d", s.SampleDone, s.SampleTotal)
		default:
			rest = steps()
		}
		if s.State == studio.JobTraining && s.ETA > 0 {
			rest += " · " + lang.L("{{.Time}} left", map[string]any{"Time": page.Duration(s.ETA)})
		}
		if rest != "" {
			line += " · " + rest
		}
		return line
	}
	if s.Queued > 0 {
		return lang.N("{{.N}} run waits in the queue", s.Queued, map[string]any{"N": s.Queued})
	}
	return lang.L("No training is running")
}

func taskLine(t *page.Task, n int) string {
	p := t.Progress()
	line := t.Title
	if t.Stopping() {
		line += " · " + lang.L("cancelling…")
	} else {
		if phase := page.Text(p.Phase); phase != "" && phase != t.Title {
			line += " · " + phase
		}
		switch {
		case p.Total > 0 && p.Done >= p.Total:
			line += " · " + lang.L("finishing…")
		case p.Total > 0:
			line += " · " + page.Int(p.Done) + " / " + page.Int(p.Total)
		}
		if left, ok := t.Remaining(); ok {
			line += " · " + lang.L("{{.Time}} left", map[string]any{"Time": page.Duration(left)})
		}
		if p.Item != "" {
			line += " · " + p.Item
		}
	}
	if n > 1 {
		line += " " + lang.L("(and {{.N}} more)", map[string]any{"N": n - 1})
	}
	return line
}

func short(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
