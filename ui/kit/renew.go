package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// Icon is an icon that is drawn anew when the theme changes. Fyne's draws the same resource once.
type Icon struct {
	widget.Icon
	look Look
}

// NewIcon makes an icon.
func NewIcon(res fyne.Resource) *Icon {
	i := &Icon{look: LookNow()}
	i.Resource = res
	i.ExtendBaseWidget(i)
	return i
}

// Refresh implements fyne.Widget.
func (i *Icon) Refresh() {
	if i.look.Changed() {
		res := i.Resource
		i.Resource = nil
		i.Icon.Refresh()
		i.Resource = res
	}
	i.Icon.Refresh()
}

// Look is the theme that something was drawn under.
type Look struct {
	theme   fyne.Theme
	variant fyne.ThemeVariant
}

// LookNow is the theme in force.
func LookNow() Look { return Look{theme.Current(), fyne.CurrentApp().Settings().ThemeVariant()} }

// Changed says whether another theme is in force than at the last call, or when the look was taken.
func (l *Look) Changed() bool {
	now := LookNow()
	if *l == now {
		return false
	}
	*l = now
	return true
}
