// Package fonts finds fonts of the system that can draw what the built-in ones cannot, such as Chinese.
package fonts

import (
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-text/typesetting/fontscan"
	"golang.org/x/image/font/opentype"

	"unnoise/runtime/sentence"
)

// maxSize bounds a font file that is read: the largest of Noto's Chinese collections has some 30 MB.
const maxSize = 128 << 20

// Covering returns a font of the system that has every letter of a text, upright and of normal weight where there is
// one, or nil if no font has. It reads the system's list of fonts, which may take seconds the first time.
func Covering(text string) (*opentype.Font, error) {
	found, err := covering(text)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if font, err := read(f.Location); err == nil { // else the next one may be better
			return font, nil
		}
	}
	return nil, nil //nolint:nilnil // no font is not an error
}

// Has says whether the system has a font with every letter of a text. It reads the system's list of fonts, too.
func Has(text string) (bool, error) {
	found, err := covering(text)
	return len(found) > 0, err
}

// covering lists the fonts that have every letter of a text, those that suit a label best first.
func covering(text string) ([]fontscan.Footprint, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	all, err := fontscan.SystemFonts(log.New(io.Discard, "", 0), filepath.Join(cache, "fyne")) // the list the window has, too
	if err != nil {
		return nil, sentence.Errorf("the system's fonts cannot be listed: %w", err)
	}
	var found []fontscan.Footprint
	for _, f := range all {
		if !strings.ContainsFunc(text, func(r rune) bool { return !f.Runes.Contains(r) }) {
			found = append(found, f)
		}
	}
	slices.SortStableFunc(found, func(a, b fontscan.Footprint) int { return strange(a, normal) - strange(b, normal) })
	return found, nil
}

// strange is how far a font is from an upright one of a weight and of normal width, without serifs.
func strange(f fontscan.Footprint, weight float32) int {
	d := int(max(float32(f.Aspect.Weight)-weight, weight-float32(f.Aspect.Weight)))
	if !strings.Contains(f.Family, "sans") {
		d += 50
	}
	if f.Aspect.Style > 1 {
		d += 1000
	}
	if strings.Contains(f.Family, "mono") {
		d += 20
	}
	return d
}

func read(at fontscan.Location) (*opentype.Font, error) {
	st, err := os.Stat(at.File)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxSize {
		return nil, sentence.Errorf("the font %s has %d bytes", at.File, st.Size())
	}
	b, err := os.ReadFile(at.File)
	if err != nil {
		return nil, err
	}
	c, err := opentype.ParseCollection(b)
	if err != nil {
		return nil, err
	}
	return c.Font(int(at.Index))
}
