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
// task. Training and sampling need it; nothing is fetched without the click.
func (s *Services) InstallRuntime(status studio.RuntimeStatus) {
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
				})
			}
		}, s.Window)
	d.Resize(fyne.NewSize(480, 0))
	d.Show()
}
