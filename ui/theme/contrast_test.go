package theme

import (
	"image/color"
	"math"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"
	"github.com/stretchr/testify/require"
)

// contrast is that of two colours, 1 … 21 (WCAG 2.2, “contrast ratio”).
func contrast(a, b color.Color) float64 {
	lum := func(c color.Color) float64 {
		linear := func(v uint32) float64 {
			s := float64(v) / 0xffff
			if s <= 0.04045 {
				return s / 12.92
			}
			return math.Pow((s+0.055)/1.055, 2.4)
		}
		r, g, b, _ := c.RGBA()
		return 0.2126*linear(r) + 0.7152*linear(g) + 0.0722*linear(b)
	}
	x, y := lum(a), lum(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// Every text can be read on everything it stands on, in light and dark: 4.5 is what WCAG asks of text (level AA).
func TestTextsCanBeRead(t *testing.T) {
	require.InDelta(t, 21, contrast(color.Black, color.White), 0.01)
	require.InDelta(t, 4.54, contrast(color.Gray{0x76}, color.White), 0.01)
	for mode, v := range map[Mode]fyne.ThemeVariant{Light: theme.VariantLight, Dark: theme.VariantDark} {
		th := New(mode)
		for _, text := range []fyne.ThemeColorName{
			theme.ColorNameForeground, theme.ColorNameDisabled, theme.ColorNamePlaceHolder, ColorNameMuted, theme.ColorNamePrimary, theme.ColorNameHyperlink,
			theme.ColorNameError, theme.ColorNameWarning, theme.ColorNameSuccess,
		} {
			for _, ground := range []fyne.ThemeColorName{
				theme.ColorNameBackground, ColorNameCard, ColorNameRail, ColorNameActive, theme.ColorNameInputBackground, theme.ColorNameMenuBackground,
				theme.ColorNameOverlayBackground, theme.ColorNameButton, theme.ColorNameDisabledButton,
			} {
				require.GreaterOrEqual(t, contrast(th.Color(text, v), th.Color(ground, v)), 4.5, "%s: %s on %s", mode, text, ground)
			}
		}
		for text, ground := range map[fyne.ThemeColorName]fyne.ThemeColorName{
			theme.ColorNameForegroundOnPrimary: theme.ColorNamePrimary, theme.ColorNameForegroundOnError: theme.ColorNameError,
			theme.ColorNameForegroundOnSuccess: theme.ColorNameSuccess, theme.ColorNameForegroundOnWarning: theme.ColorNameWarning,
		} {
			require.GreaterOrEqual(t, contrast(th.Color(text, v), th.Color(ground, v)), 4.5, "%s: %s on %s", mode, text, ground)
		}
	}
}
