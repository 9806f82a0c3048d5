package ui

import (
	"context"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/widget"

	"unnoise/ui/kit"
	"unnoise/ui/page"
)

// closing answers the window's close button. While a run is training it asks first.
func (r *runner) closing() {
	if r.leaving {
		return
	}
	if r.st == nil || !r.st.Training.Snapshot().Busy() {
		r.leave()
		return
	}
	snap := r.st.Training.Snapshot()
	text := kit.Text(lang.L("“{{.Name}}” is training: step {{.Step}} of {{.Steps}}.", map[string]any{
		"Name": snap.Name, "Step": page.Int(snap.Step), "Steps": page.Int(snap.Steps),
	}))
	explain := kit.Muted(lang.L("“Keep running” closes the window and lets the run go on; start the program again to see it. It ends when the run and the queue are done. “Save and quit” saves a checkpoint, and the run can be continued later."))
	var d dialog.Dialog
	keep := kit.Button(lang.L("Keep running"), nil, widget.MediumImportance, func() { d.Hide(); r.background() })
	save := kit.Button(lang.L("Save and quit"), nil, widget.HighImportance, func() { d.Hide(); r.leave() })
	cancel := kit.Button(lang.L("Cancel"), nil, widget.MediumImportance, func() { d.Hide() })
	d = dialog.NewCustomWithoutButtons(lang.L("Close the window?"),
		container.NewVBox(text, explain, container.NewCenter(container.NewHBox(cancel, keep, save))), r.win)
	d.Resize(fyne.NewSize(500, 0))
	r.s.ShowDialog(d)
}

// leave stops the run, saying so, and quits when it is saved.
func (r *runner) leave() {
	r.leaving = true
	if r.st == nil || !r.st.Training.Snapshot().Busy() {
		r.quit()
		return
	}
	d := dialog.NewCustomWithoutButtons(lang.L("Saving…"), container.NewVBox(
		kit.Text(lang.L("The run is saving a checkpoint. The window closes by itself.")), widget.NewProgressBarInfinite()), r.win)
	d.Resize(fyne.NewSize(400, 0))
	d.Show()
	go func() {
		err := r.st.Training.Stop()
		if err == nil {
			err = r.st.Training.Wait(r.ctx)
		}
		r.s.Post(func() {
			if err != nil && r.ctx.Err() == nil {
				r.leaving = false
				d.Hide()
				r.s.Fail(err)
				return
			}
			r.quit()
		})
	}()
}

// background hides the window while the run goes on, and quits when nothing is left to do. Starting the program again
// brings it back.
func (r *runner) background() {
	r.hidden = true
	r.win.Hide()
	go func() {
		idle := 0
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for idle < 3 { // the queue may start its next run in between
			select {
			case <-r.ctx.Done():
				return
			case <-t.C:
			}
			if r.st.Training.Snapshot().Busy() {
				idle = 0
			} else {
				idle++
			}
		}
		_ = r.st.Training.Wait(context.WithoutCancel(r.ctx))
		r.s.Post(func() {
			if r.hidden {
				r.quit()
			}
		})
	}()
}

// answer brings the window forward whenever the program is started again on the same workspace. It ends with the window.
func (r *runner) answer() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-r.s.Context().Done():
			return
		case <-t.C:
		}
		if r.st.Called() {
			r.s.Post(func() {
				r.hidden = false
				r.win.Show()
				r.win.RequestFocus()
			})
		}
	}
}

// quit ends the window's loop. It is called on the UI thread.
func (r *runner) quit() {
	if r.s != nil {
		r.s.Stop()
	}
	r.app.Quit()
}
