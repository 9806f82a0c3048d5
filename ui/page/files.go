package page

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"unnoise/runtime/sentence"
)

// Reveal shows a folder, or the folder a file lies in, in the system's file manager.
func (s *Services) Reveal(path string) {
	s.Do(func(context.Context) error {
		dir := path
		info, err := os.Stat(path)
		if err != nil {
			return sentence.Errorf("%s is not there any more", path)
		}
		if !info.IsDir() {
			dir = filepath.Dir(path)
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		return s.App.OpenURL(&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)})
	}, nil)
}

// Path is what somebody typed as the name of a file or folder: without spaces around it, and with their own folder for a
// leading ~.
func Path(typed string) string {
	p := strings.TrimSpace(typed)
	rest, home := strings.CutPrefix(p, "~")
	if !home || (rest != "" && !os.IsPathSeparator(rest[0])) {
		return p
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return p
	}
	return filepath.Join(dir, rest)
}
