package i18n

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/lang"

	"unnoise/app/fonts"
)

// sample has letters of every sort that the Chinese texts have.
const sample = "简图训练，。"

// HasChineseFont says whether the system has a font with Chinese characters. It reads the system's fonts: call it off the
// UI thread.
func HasChineseFont() (bool, error) { return fonts.Has(sample) }

// Chinese says whether texts are in Chinese now.
func Chinese() bool { return lang.L("Settings") != "Settings" }

// ChineseFonts returns fonts of the system for Chinese texts, upright and bold; nil where there is none. It reads some 40 MB: call
// it off the UI thread.
func ChineseFonts() (regular, bold fyne.Resource, err error) {
	r, b, err := fonts.Faces(sample)
	if err != nil || r == nil {
		return nil, nil, err
	}
	regular = fyne.NewStaticResource("chinese", r)
	if b != nil {
		bold = fyne.NewStaticResource("chinese-bold", b)
	}
	return regular, bold, nil
}
