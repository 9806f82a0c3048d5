// Package theme is the look of the window: one calm colour scheme in light and dark, and its sizes.
package theme

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"
)

// Colours beyond Fyne's own names. Get them with Color, so that they follow light and dark.
const (
	ColorNameRail       fyne.ThemeColorName = "unnoiseRail"       // the left rail and the status bar
	ColorNameCard       fyne.ThemeColorName = "unnoiseCard"       // panels on the page
	ColorNameCardBorder fyne.ThemeColorName = "unnoiseCardBorder" // their hairline
	ColorNameMuted      fyne.ThemeColorName = "unnoiseMuted"      // explanations and labels of figures
	ColorNameWell       fyne.ThemeColorName = "unnoiseWell"       // behind pictures
	ColorNameActive     fyne.ThemeColorName = "unnoiseActive"     // the chosen place in the rail
	ColorNameTrack      fyne.ThemeColorName = "unnoiseTrack"      // what a slider can still go along
)

// Mode is whether the window is light or dark.
type Mode string

// The modes.
const (
	System Mode = "system"
	Light  Mode = "light"
	Dark   Mode = "dark"
)

// Theme is the window's Fyne theme.
type Theme struct {
	mode Mode
	base fyne.Theme
}

// New returns the theme in a mode.
func New(mode Mode) *Theme { return &Theme{mode: mode, base: theme.DefaultTheme()} }

func rgb(v uint32) color.NRGBA {
	return color.NRGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: 0xff}
}

func rgba(v uint32, a uint8) color.NRGBA {
	c := rgb(v)
	c.A = a
	return c
}

var light = map[fyne.ThemeColorName]color.Color{
	theme.ColorNameBackground:          rgb(0xF6F7F9),
	theme.ColorNameForeground:          rgb(0x1C212B),
	theme.ColorNameButton:              rgb(0xE6E9EF),
	theme.ColorNameDisabledButton:      rgb(0xEEF0F4),
	theme.ColorNameDisabled:            rgb(0x5A6373),
	theme.ColorNamePlaceHolder:         rgb(0x5A6373),
	theme.ColorNamePrimary:             rgb(0x2459B3),
	theme.ColorNameHyperlink:           rgb(0x2459B3),
	theme.ColorNameForegroundOnPrimary: rgb(0xFFFFFF),
	theme.ColorNameFocus:               rgba(0x2B66C9, 0x40),
	theme.ColorNameSelection:           rgba(0x2B66C9, 0x2E),
	theme.ColorNameHover:               rgba(0x1C212B, 0x0E),
	theme.ColorNamePressed:             rgba(0x1C212B, 0x1E),
	theme.ColorNameInputBackground:     rgb(0xEAEDF2),
	theme.ColorNameInputBorder:         rgb(0xB9C1CD),
	theme.ColorNameMenuBackground:      rgb(0xFFFFFF),
	theme.ColorNameOverlayBackground:   rgb(0xFFFFFF),
	theme.ColorNameHeaderBackground:    rgb(0xEDEFF3),
	theme.ColorNameSeparator:           rgb(0xDDE1E8),
	theme.ColorNameScrollBar:           rgba(0x1C212B, 0x55),
	theme.ColorNameShadow:              rgba(0x1C212B, 0x26),
	theme.ColorNameError:               rgb(0xB52F28),
	theme.ColorNameForegroundOnError:   rgb(0xFFFFFF),
	theme.ColorNameSuccess:             rgb(0x226A3E),
	theme.ColorNameForegroundOnSuccess: rgb(0xFFFFFF),
	theme.ColorNameWarning:             rgb(0x8A5107),
	theme.ColorNameForegroundOnWarning: rgb(0xFFFFFF),
	ColorNameRail:                      rgb(0xECEEF2),
	ColorNameCard:                      rgb(0xFFFFFF),
	ColorNameCardBorder:                rgb(0xE1E5EB),
	ColorNameMuted:                     rgb(0x5A6373),
	ColorNameWell:                      rgb(0xEBEDF1),
	ColorNameActive:                    rgb(0xD8E3F6),
	ColorNameTrack:                     rgb(0x8F99A9),
}

var dark = map[fyne.ThemeColorName]color.Color{
	theme.ColorNameBackground:          rgb(0x15181E),
	theme.ColorNameForeground:          rgb(0xE4E8EF),
	theme.ColorNameButton:              rgb(0x2A303B),
	theme.ColorNameDisabledButton:      rgb(0x222731),
	theme.ColorNameDisabled:            rgb(0x98A2B3),
	theme.ColorNamePlaceHolder:         rgb(0x98A2B3),
	theme.ColorNamePrimary:             rgb(0x79A8F2),
	theme.ColorNameHyperlink:           rgb(0x79A8F2),
	theme.ColorNameForegroundOnPrimary: rgb(0x0D1624),
	theme.ColorNameFocus:               rgba(0x79A8F2, 0x48),
	theme.ColorNameSelection:           rgba(0x79A8F2, 0x38),
	theme.ColorNameHover:               rgba(0xFFFFFF, 0x10),
	theme.ColorNamePressed:             rgba(0xFFFFFF, 0x20),
	theme.ColorNameInputBackground:     rgb(0x2D3440),
	theme.ColorNameInputBorder:         rgb(0x566073),
	theme.ColorNameMenuBackground:      rgb(0x262C36),
	theme.ColorNameOverlayBackground:   rgb(0x20252E),
	theme.ColorNameHeaderBackground:    rgb(0x222731),
	theme.ColorNameSeparator:           rgb(0x2C323D),
	theme.ColorNameScrollBar:           rgba(0xFFFFFF, 0x50),
	theme.ColorNameShadow:              rgba(0x000000, 0x70),
	theme.ColorNameError:               rgb(0xF0837B),
	theme.ColorNameForegroundOnError:   rgb(0x2A0B09),
	theme.ColorNameSuccess:             rgb(0x6CC68E),
	theme.ColorNameForegroundOnSuccess: rgb(0x0B2114),
	theme.ColorNameWarning:             rgb(0xE7B05A),
	theme.ColorNameForegroundOnWarning: rgb(0x281A04),
	ColorNameRail:                      rgb(0x101318),
	ColorNameCard:                      rgb(0x1D222A),
	ColorNameCardBorder:                rgb(0x2A303A),
	ColorNameMuted:                     rgb(0x98A2B3),
	ColorNameWell:                      rgb(0x101318),
	ColorNameActive:                    rgb(0x24344F),
	ColorNameTrack:                     rgb(0x667186),
}

// Variant is light or dark, as the mode and the system have it.
func (t *Theme) Variant(system fyne.ThemeVariant) fyne.ThemeVariant {
	switch t.mode {
	case Light:
		return theme.VariantLight
	case Dark:
		return theme.VariantDark
	case System:
	}
	return system
}

// Color implements fyne.Theme.
func (t *Theme) Color(n fyne.ThemeColorName, v fyne.ThemeVariant) color.Color {
	v = t.Variant(v)
	table := dark
	if v == theme.VariantLight {
		table = light
	}
	if c, ok := table[n]; ok {
		return c
	}
	return t.base.Color(n, v)
}

// ownFonts are the fonts of texts that Fyne's own fonts have no letters for, upright and bold; nil where Fyne's are used. They
// belong to the UI thread.
var ownFonts [2]fyne.Resource

// SetFonts has texts written with fonts of the system, upright and bold, from the next theme on; nil goes back to Fyne's. A
// font that has all letters of a language keeps them on one line: mixed with Fyne's, they stand too low, and are never bold.
func SetFonts(regular, bold fyne.Resource) { ownFonts = [2]fyne.Resource{regular, bold} }

// Font implements fyne.Theme.
func (t *Theme) Font(s fyne.TextStyle) fyne.Resource {
	own := ownFonts[0]
	if s.Bold && ownFonts[1] != nil {
		own = ownFonts[1]
	}
	if own == nil || s.Monospace || s.Symbol {
		return t.base.Font(s)
	}
	return own
}

// Icon implements fyne.Theme.
func (t *Theme) Icon(n fyne.ThemeIconName) fyne.Resource { return t.base.Icon(n) }

// Size implements fyne.Theme.
func (t *Theme) Size(n fyne.ThemeSizeName) float32 {
	switch n {
	case theme.SizeNameText:
		return 13
	case theme.SizeNameHeadingText:
		return 22
	case theme.SizeNameSubHeadingText:
		return 15
	case theme.SizeNameCaptionText:
		return 11.5
	case theme.SizeNameInnerPadding:
		return 7
	case theme.SizeNameInlineIcon:
		return 18
	case theme.SizeNameInputRadius:
		return 6
	case theme.SizeNameScrollBar:
		return 11
	}
	return t.base.Size(n)
}

// Color looks a colour up in the theme in force.
func Color(n fyne.ThemeColorName) color.Color {
	return theme.Current().Color(n, fyne.CurrentApp().Settings().ThemeVariant())
}

// Series are the colours of a plot's lines, told apart by people who see few colours too (after Okabe and Ito,
// "Color Universal Design", 2008), in the shade that reads on the theme's card.
func Series() []color.Color {
	if luma(Color(ColorNameCard)) > 0.5 {
		return []color.Color{rgb(0x2B66C9), rgb(0xC25A00), rgb(0x00795A), rgb(0xA8447F), rgb(0x7A6A00), rgb(0x1C87AE), rgb(0x6B4FB3), rgb(0x5B6472)}
	}
	return []color.Color{rgb(0x79A8F2), rgb(0xF0A04B), rgb(0x4CC79B), rgb(0xE08BBE), rgb(0xE6D658), rgb(0x6CCBEA), rgb(0xB49CF0), rgb(0xA7B0BF)}
}

func luma(c color.Color) float64 {
	r, g, b, _ := c.RGBA()
	return (0.2126*float64(r) + 0.7152*float64(g) + 0.0722*float64(b)) / 0xffff
}
