package i18n

import (
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/go-text/typesetting/fontscan"
)

// HasChineseFont says whether the system has a font with Chinese characters. It reads the system's fonts: call it off the
// UI thread.
func HasChineseFont() (bool, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	fonts, err := fontscan.SystemFonts(log.New(io.Discard, "", 0), filepath.Join(dir, "fyne"))
	if err != nil {
		return false, fmt.Errorf("the system's fonts cannot be listed: %w", err)
	}
	for _, f := range fonts {
		if f.Runes.Contains('简') && f.Runes.Contains('图') {
			return true, nil
		}
	}
	return false, nil
}
