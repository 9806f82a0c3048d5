package ui

import (
	"runtime"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/widget"

	"unnoise/ui/page"
)

var digits = []fyne.KeyName{fyne.Key1, fyne.Key2, fyne.Key3, fyne.Key4, fyne.Key5, fyne.Key6, fyne.Key7, fyne.Key8}

// bindKeys makes the window answer its shortcuts; quit is what the close button does.
func (sh *shell) bindKeys(quit func()) {
	c := sh.s.Window.Canvas()
	// While a dialog is open the keys are its own: Del must not reach the pictures behind it.
	covered := func() bool { return c.Overlays().Top() != nil }
	on := func(key fyne.KeyName, do func()) {
		c.AddShortcut(&desktop.CustomShortcut{KeyName: key, Modifier: fyne.KeyModifierShortcutDefault}, func(fyne.Shortcut) {
			if !covered() {
				do()
			}
		})
	}
	for i, key := range digits {
		on(key, func() {
			if i < len(sh.pages) {
				sh.navigate(sh.pages[i].ID(), nil)
			}
		})
	}
	start := func() {
		if p, ok := sh.at.(page.Starter); ok {
			p.Start()
		}
	}
	on(fyne.KeyReturn, start)
	on(fyne.KeyEnter, start)
	on(fyne.KeyQ, quit)
	on(fyne.KeyComma, func() { sh.navigate(page.Settings, nil) })
	on(fyne.Key0, func() {
		if p, ok := sh.at.(page.Fitter); ok {
			p.Fit()
		}
	})
	c.AddShortcut(&fyne.ShortcutUndo{}, func(fyne.Shortcut) {
		if !covered() {
			sh.s.Undo()
		}
	})
	c.AddShortcut(&fyne.ShortcutSelectAll{}, func(fyne.Shortcut) {
		if p, ok := sh.at.(page.Selector); ok && !covered() {
			p.SelectAll()
		}
	})
	c.SetOnTypedKey(func(ev *fyne.KeyEvent) {
		if covered() {
			if ev.Name == fyne.KeyEscape {
				sh.s.Escape()
			}
			return
		}
		if p, ok := sh.at.(page.KeyHandler); ok && p.TypedKey(ev) {
			return
		}
		if ev.Name == fyne.KeyF1 {
			sh.showKeys()
		}
	})
	c.SetOnTypedRune(func(r rune) {
		if covered() {
			return
		}
		if p, ok := sh.at.(page.RuneHandler); ok && p.TypedRune(r) {
			return
		}
		switch r {
		case '?', '？':
			sh.showKeys()
		case 'i', 'I':
			sh.togglePanel()
		}
	})
}

func command(key string) string {
	if runtime.GOOS == "darwin" {
		return "⌘" + key
	}
	return "Ctrl+" + key
}

// showKeys lists the keys.
func (sh *shell) showKeys() {
	if sh.keysShown {
		return
	}
	list := []page.Key{
		{Keys: command("1") + " … " + command(string(rune('0'+len(sh.pages)))), What: lang.L("Go to a page")},
		{Keys: command(","), What: lang.L("Settings")},
		{Keys: command("Enter"), What: lang.L("Start or stop what the page is for")},
		{Keys: command("Z"), What: lang.L("Undo")},
		{Keys: command("A"), What: lang.L("Select all")},
		{Keys: command("0"), What: lang.L("Fit the picture")},
		{Keys: "← ↑ → ↓", What: lang.L("Move the selection")},
		{Keys: "Del", What: lang.L("Move to the trash")},
		{Keys: ".", What: lang.L("Star")},
		{Keys: "I", What: lang.L("Show or hide the details")},
		{Keys: "Esc", What: lang.L("Leave a field or close a dialog; it never stops a run")},
		{Keys: command("Q"), What: lang.L("Close the window")},
		{Keys: "?", What: lang.L("This list")},
	}
	if h, ok := sh.at.(page.KeyHelp); ok {
		list = append(list, h.Keys()...)
	}
	grid := container.New(layout.NewFormLayout())
	for _, k := range list {
		grid.Add(widget.NewLabelWithStyle(k.Keys, fyne.TextAlignTrailing, fyne.TextStyle{Bold: true}))
		grid.Add(widget.NewLabel(k.What))
	}
	scroll := container.NewVScroll(grid)
	size := sh.s.Window.Canvas().Size()
	scroll.SetMinSize(fyne.NewSize(min(460, size.Width-80), min(grid.MinSize().Height, size.Height-140)))
	d := dialog.NewCustom(lang.L("Keys"), lang.L("Close"), scroll, sh.s.Window)
	sh.keysShown = true
	d.SetOnClosed(func() { sh.keysShown = false })
	sh.s.ShowDialog(d)
}
