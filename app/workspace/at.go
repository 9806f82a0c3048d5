package workspace

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"unnoise/runtime/sentence"
)

// At is the workspace in dir as it is, for looking at: nothing is made, mended or locked.
func At(dir string) (*Workspace, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, sentence.Errorf("the workspace's path %q cannot be used: %w", dir, err)
	}
	w := &Workspace{dir: abs}
	if err := w.Marker(); errors.Is(err, fs.ErrNotExist) {
		if _, serr := os.Stat(w.Runs()); serr != nil {
			return nil, sentence.T("there is no workspace in {{.Dir}}", "Dir", abs).Because(err)
		}
	}
	return w, nil
}

// Marker says what is wrong with the file that makes a folder a workspace: *NewerError when a newer program made it.
func (w *Workspace) Marker() error {
	m, err := readMarker(w.dir)
	if err == nil && m.Version > Version {
		return &NewerError{Dir: w.dir, Version: m.Version}
	}
	return err
}

// MarkerPath is the file that makes a folder a workspace.
func (w *Workspace) MarkerPath() string { return filepath.Join(w.dir, markerName) }
