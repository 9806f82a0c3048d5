package page

import (
	"context"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/kit"
)

// InstallRuntime asks whether to fetch the runtime library, saying what it will do on the network, and fetches it as a
// task. Training and sampling need it; nothing is fetched without the click. then, which may be nil, is called on the UI
// thread when it is installed.
func (s *Services) InstallRuntime(status studio.RuntimeStatus, then func()) {
	for _, t := range s.Tasks() {
		if t.Title == lang.L("Installing the runtime library") {
			return
		}
	}
	install := func(file string) {
		s.Run(lang.L("Installing the runtime library"), func(ctx context.Context, report func(Progress)) error {
			_, err := s.Studio.Settings.InstallRuntime(ctx, file, report)
			return err
		}, func(err error) {
			if err != nil {
				s.Fail(err)
				return
			}
			s.Toast(lang.L("The runtime library is installed."))
			if then != nil {
				then()
			}
		})
	}
	var d *dialog.CustomDialog
	yes := kit.Button(lang.L("Install"), nil, widget.HighImportance, func() { d.Hide(); install("") })
	no := kit.Button(lang.L("Not now"), nil, widget.MediumImportance, func() { d.Hide() })
	file := kit.Button(lang.L("Choose the file…"), theme.FolderOpenIcon(), widget.MediumImportance, func() {
		s.Pick(Picking{Title: lang.L("The archive of onnxruntime-node, or the library itself"), Files: true}, func(path string) {
			d.Hide()
			install(path)
		})
	})
	d = dialog.NewCustomWithoutButtons(lang.L("Install the runtime library?"), container.NewVBox(
		kit.Text(lang.L("Training and sampling need ONNX Runtime, the library that does the arithmetic.")),
		kit.Muted(Text(status.Network)),
		kit.Muted(lang.L("Without npm or a network, choose the file that you brought from another computer.")),
		container.NewBorder(nil, nil, file, kit.Buttons(no, yes))), s.Window)
	d.Resize(fyne.NewSize(min(560, s.Window.Canvas().Size().Width-40), 0))
	s.ShowDialog(d)
	d.Resize(fyne.NewSize(min(560, s.Window.Canvas().Size().Width-40), d.MinSize().Height)) // wrapped text knows its height now
}

// WithRuntime calls then at once if the runtime library is installed, and else after the user had it installed.
func (s *Services) WithRuntime(then func()) {
	Load(s, s.Studio.Settings.Runtime, func(st studio.RuntimeStatus, err error) {
		switch {
		case err != nil:
			s.Fail(err)
		case st.Installed:
			then()
		default:
			s.InstallRuntime(st, then)
		}
	})
}
