package page

import (
	"context"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
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
	text := widget.NewLabel(lang.L("Training and sampling need ONNX Runtime, the library that does the arithmetic."))
	text.Wrapping = fyne.TextWrapWord
	network := widget.NewLabel(Text(status.Network))
	network.Wrapping = fyne.TextWrapWord
	network.Importance = widget.LowImportance
	d := dialog.NewCustomConfirm(lang.L("Install the runtime library?"), lang.L("Install"), lang.L("Not now"),
		container.NewVBox(text, network), func(ok bool) {
			if ok {
				s.Run(lang.L("Installing the runtime library"), func(ctx context.Context, report func(Progress)) error {
					_, err := s.Studio.Settings.InstallRuntime(ctx, report)
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
		}, s.Window)
	d.Resize(fyne.NewSize(480, 0))
	s.ShowDialog(d)
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
