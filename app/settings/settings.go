// Package settings keeps what the person chose for the program, in one small JSON file in
// their configuration folder, written atomically.
package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/adrg/xdg"

	"unnoise/app/disk"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// Version is the version of the file. A newer one is refused, never overwritten.
const Version = 1

const maxFile = 1 << 20

// Settings is the choices. Empty strings and zeros mean: as the system has it.
type Settings struct {
	Device    string  `json:"device,omitempty"`  // "cpu", "webgpu" or "cuda"; "" is "cpu"
	Threads   int     `json:"threads,omitempty"` // 0 is all cores
	Workspace string  `json:"workspace,omitempty"`
	Language  string  `json:"language,omitempty"` // "en" or "zh"
	Theme     string  `json:"theme,omitempty"`    // "light" or "dark"
	Scale     float64 `json:"scale,omitempty"`    // of the window; 1 is 100 %
	ExportDir string  `json:"export_dir,omitempty"`
}

// Check says what is wrong with a choice.
func (s Settings) Check() error {
	switch {
	case !slices.Contains([]string{"", "cpu", "webgpu", "cuda"}, s.Device):
		return sentence.Errorf("the device %q is not known: choose cpu, webgpu or cuda", s.Device)
	case s.Threads < 0 || s.Threads > 1024:
		return sentence.Errorf("%d threads cannot be used: choose 1 to 1024, or 0 for all cores", s.Threads)
	case !slices.Contains([]string{"", "en", "zh"}, s.Language):
		return sentence.Errorf("the language %q is not known: choose en or zh", s.Language)
	case !slices.Contains([]string{"", "light", "dark"}, s.Theme):
		return sentence.Errorf("the theme %q is not known: choose light or dark", s.Theme)
	case s.Scale != 0 && !(s.Scale >= 0.5 && s.Scale <= 4):
		return sentence.Errorf("a scale of %g cannot be used: choose 0.5 to 4", s.Scale)
	}
	return nil
}

type file struct {
	Version int `json:"version"`
	Settings
	// Remembered is what the window was left with, by the name of its part: values, not choices, that no other part reads.
	Remembered map[string]json.RawMessage `json:"remembered,omitempty"`
}

// maxRemembered bounds one part of what is remembered.
const maxRemembered = 64 << 10

// Path is where the settings are unless a Store is opened elsewhere. UNNOISE_CONFIG names
// another file.
func Path() string {
	if p := os.Getenv("UNNOISE_CONFIG"); p != "" {
		return p
	}
	return filepath.Join(xdg.ConfigHome, "unnoise", "settings.json")
}

// Store is the settings in memory and their file.
type Store struct {
	path string

	mu  sync.RWMutex
	now Settings
	was map[string]json.RawMessage // what is remembered
	ro  error                      // why nothing may be saved
	bad bool                       // the file is damaged
}

// Open reads the settings at path; a missing file is the default choice. With a file that is damaged, cannot be read, or
// was saved by a newer version, the defaults are in use and the error, a sentence to show, says so. Nothing is written: a
// damaged file is kept under another name when something is first saved; the others are never replaced.
func Open(path string) (*Store, error) {
	s := &Store{path: path}
	var raw json.RawMessage
	err := disk.ReadJSON(path, maxFile, &raw)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	var unread *fs.PathError
	_, errno := errors.AsType[syscall.Errno](err)
	if errno || errors.As(err, &unread) || errors.Is(err, durable.ErrNotRegular) { // that says nothing of what is in it
		s.ro = err
		return s, err
	}
	var f file
	if err == nil {
		err = sentence.JSON(json.Unmarshal(raw, &f))
	}
	if f.Version > Version {
		s.ro = sentence.Errorf("the settings %s were saved by a newer Unnoise (format %d) and are left alone: use that one, or remove the file", path, f.Version)
		return s, s.ro
	}
	if err == nil {
		err = f.Check()
	}
	if err != nil {
		s.bad = true
		return s, sentence.Errorf("the settings %s are damaged and not in use (%w): mend the file or remove it", path, err)
	}
	s.now, s.was = f.Settings, f.Remembered
	return s, nil
}

// Get is the settings now.
func (s *Store) Get() Settings {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now
}

// Set checks the settings and saves them; on an error the former ones stay. It reports
// whether anything changed.
func (s *Store) Set(n Settings) (changed bool, err error) {
	if err := n.Check(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == s.now {
		return false, nil
	}
	if s.ro != nil {
		return false, s.ro
	}
	if err := s.save(n, s.was); err != nil {
		return false, err
	}
	s.now = n
	return true, nil
}

func (s *Store) save(n Settings, was map[string]json.RawMessage) error {
	err := durable.MkdirAll(filepath.Dir(s.path))
	if err == nil && s.bad {
		if _, err = durable.KeepAside(s.path); errors.Is(err, fs.ErrNotExist) {
			err = nil // somebody removed it
		}
	}
	if err == nil {
		err = disk.WriteJSON(s.path, file{Version: Version, Settings: n, Remembered: was})
	}
	if err != nil {
		return sentence.Errorf("the settings cannot be saved: %w", err)
	}
	s.bad = false
	return nil
}

// Recall fills into with what was last remembered under a name, and says false when there is nothing that fits.
func (s *Store) Recall(name string, into any) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.was[name]
	return ok && json.Unmarshal(b, into) == nil
}

// Remember keeps a value under a name for the next start. Where the settings may not be saved, it keeps it until the end.
func (s *Store) Remember(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return sentence.Errorf("the settings cannot be saved: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(b) > maxRemembered || bytes.Equal(b, s.was[name]) {
		return nil
	}
	was := maps.Clone(s.was)
	if was == nil {
		was = map[string]json.RawMessage{}
	}
	was[name] = b
	if s.ro == nil {
		err = s.save(s.now, was)
	}
	s.was = was
	return err
}
