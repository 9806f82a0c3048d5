// Package workspace is the folder that holds everything: where things lie in it, who has
// it open, what version it is, how things in it are named, and how it moves as a whole.
//
//	workspace.json      version of the format
//	library.db          index, can be deleted and is made anew from the folders
//	queue.json          trainings that wait
//	datasets/ runs/ galleries/ models/
//	.trash/ .cache/     what was deleted; thumbnails
//
// One process at a time holds the workspace's lock: the window, which runs the queue and
// moves things. Others may read everything, may train in run folders (each has a lock of its
// own) and may change the queue, whose file is locked for the moment of each change.
package workspace

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/adrg/xdg"
	"github.com/gofrs/flock"

	"unnoise/app/disk"
	"unnoise/runtime/sentence"
)

// Version is the version of the workspace's layout. A newer one is refused.
const Version = 1

const (
	format     = "unnoise workspace"
	markerName = "workspace.json"
	lockName   = ".lock"
	holderName = ".holder.json"
	callName   = ".call"
)

// Window is what a window calls itself as the holder of a workspace.
const Window = "window"

// Holder says which process has a workspace open.
type Holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	What  string    `json:"what"`
	Since time.Time `json:"since"`
}

// LockedError is returned by Open when another process holds the workspace.
type LockedError struct {
	Dir    string
	Holder Holder // zero if it could not be learned
}

func (e *LockedError) Error() string { return e.Unwrap().Error() }

// Unwrap is the sentence to tell.
func (e *LockedError) Unwrap() error {
	if e.Holder.PID == 0 {
		return sentence.T("the workspace {{.Dir}} is open in another window: close that one, or choose another workspace", "Dir", e.Dir)
	}
	return sentence.T("the workspace {{.Dir}} is open in another {{.What}} (process {{.PID}} on {{.Host}}, since {{.Since}}): close that one, or choose another workspace",
		"Dir", e.Dir, "What", e.Holder.What, "PID", e.Holder.PID, "Host", e.Holder.Host, "Since", e.Holder.Since.Format("2 Jan 15:04"))
}

// Call asks the window that holds the workspace on this computer to come forward, and says whether it answered in time:
// a window that was closed while a run goes on cannot be reached otherwise.
func (e *LockedError) Call(ctx context.Context, patience time.Duration) bool {
	if host, _ := os.Hostname(); e.Holder.What != Window || e.Holder.Host != host {
		return false
	}
	path := filepath.Join(e.Dir, callName)
	if os.WriteFile(path, nil, 0o600) != nil {
		return false
	}
	defer func() { _ = os.Remove(path) }() // nobody answered
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(50 * time.Millisecond):
		}
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
}

// Called says whether another process has called since the last time, and answers it.
func (w *Workspace) Called() bool { return os.Remove(filepath.Join(w.dir, callName)) == nil }

// NewerError is returned when a workspace was made by a newer program.
type NewerError struct {
	Dir     string
	Version int
}

func (e *NewerError) Error() string { return e.Unwrap().Error() }

// Unwrap is the sentence to tell.
func (e *NewerError) Unwrap() error {
	return sentence.T("the workspace {{.Dir}} has format {{.Version}} and this program knows formats up to {{.Known}}: use a newer Unnoise, or choose another workspace",
		"Dir", e.Dir, "Version", e.Version, "Known", Version)
}

// Workspace is an open workspace folder.
type Workspace struct {
	dir  string
	lock *flock.Flock // nil when attached
}

type marker struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Created time.Time `json:"created"`
}

// DefaultDir is where the workspace is when nobody said otherwise: Unnoise in the person's
// documents, or in the home folder if there are none.
func DefaultDir() string {
	if d := xdg.UserDirs.Documents; d != "" {
		if st, err := os.Stat(d); err == nil && st.IsDir() {
			return filepath.Join(d, "Unnoise")
		}
	}
	return filepath.Join(xdg.Home, "Unnoise")
}

// Open takes the workspace in dir for this process, making the folder if there is none.
// what names the holder to others, e.g. "window". The error is a *LockedError when another
// process has it, a *NewerError when a newer program made it.
func Open(dir, what string) (*Workspace, error) {
	w, err := prepare(dir, true)
	if err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(w.dir, lockName))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, sentence.Errorf("the workspace %s cannot be locked: %w", w.dir, disk.Reason(err))
	}
	if !ok {
		return nil, &LockedError{Dir: w.dir, Holder: readHolder(w.dir)}
	}
	w.lock = lock
	host, _ := os.Hostname()
	h := Holder{PID: os.Getpid(), Host: host, What: what, Since: time.Now().Truncate(time.Second)}
	if err := disk.WriteJSON(filepath.Join(w.dir, holderName), h); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Attach opens a workspace beside whoever holds it, making it if there is none. The one
// who attached must not move or delete things that others may use.
func Attach(dir string) (*Workspace, error) {
	return prepare(dir, false)
}

func prepare(dir string, write bool) (*Workspace, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, sentence.Errorf("the workspace's path %q cannot be used: %w", dir, err)
	}
	w := &Workspace{dir: abs}
	m, err := readMarker(abs)
	switch {
	case err == nil:
		if m.Version > Version {
			return nil, &NewerError{Dir: abs, Version: m.Version}
		}
		for _, d := range w.folders() {
			if err := os.MkdirAll(d, 0o777); err != nil && write {
				return nil, sentence.T("the workspace {{.Dir}} cannot be written: {{.Problem}}; change its permissions or choose another folder", "Dir", abs, "Problem", disk.Reason(err)).Because(err)
			}
		}
		return w, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err := w.create(); err != nil {
		return nil, err
	}
	return w, nil
}

// create makes a new workspace. A folder that holds other things is refused: a workspace
// owns its folder, and moving it moves everything in it.
func (w *Workspace) create() error {
	entries, err := os.ReadDir(w.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return sentence.Errorf("the workspace %s cannot be read: %w", w.dir, disk.Reason(err))
	}
	known := map[string]bool{lockName: true, holderName: true, "library.db": true, "library.db-wal": true, "library.db-shm": true, "queue.json": true, "queue.lock": true, "lost+found": true}
	for _, d := range w.folders() {
		known[filepath.Base(d)] = true
	}
	for _, e := range entries {
		if !known[e.Name()] {
			return sentence.T("the folder {{.Dir}} is not a workspace and already holds {{.Name}}: choose an empty folder", "Dir", w.dir, "Name", strconv.Quote(e.Name()))
		}
	}
	for _, d := range append([]string{w.dir}, w.folders()...) {
		if err := os.MkdirAll(d, 0o777); err != nil {
			return w.notMade(err)
		}
	}
	if err := disk.WriteJSON(filepath.Join(w.dir, markerName), marker{Format: format, Version: Version, Created: time.Now().Truncate(time.Second)}); err != nil {
		return w.notMade(err)
	}
	return nil
}

func (w *Workspace) notMade(err error) error {
	return sentence.T("the workspace {{.Dir}} cannot be made: {{.Problem}}; choose another folder", "Dir", w.dir, "Problem", disk.Reason(err)).Because(err)
}

func readMarker(dir string) (marker, error) {
	var m marker
	path := filepath.Join(dir, markerName)
	if err := disk.ReadJSON(path, 1<<16, &m); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return m, err
		}
		return m, sentence.Errorf("%w; if the folder is a workspace, delete that file and open it again", err)
	}
	if m.Format != format || m.Version < 1 {
		return m, sentence.Errorf("the file %s does not describe a workspace: choose another folder", path)
	}
	return m, nil
}

func readHolder(dir string) Holder {
	var h Holder
	if err := disk.ReadJSON(filepath.Join(dir, holderName), 1<<16, &h); err != nil {
		return Holder{}
	}
	return h
}

// Close gives the lock back.
func (w *Workspace) Close() error {
	if w.lock == nil {
		return nil
	}
	err := os.Remove(filepath.Join(w.dir, holderName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	lock := w.lock
	w.lock = nil
	return errors.Join(err, lock.Unlock())
}

// Held reports whether this process holds the lock.
func (w *Workspace) Held() bool { return w.lock != nil }

// Dir is the workspace's absolute path.
func (w *Workspace) Dir() string { return w.dir }

// Datasets is a folder in it, as are Runs, Galleries, Models, Trash and Cache; Library and
// Queue are files.
func (w *Workspace) Datasets() string { return filepath.Join(w.dir, "datasets") }

// Runs is the folder of runs.
func (w *Workspace) Runs() string { return filepath.Join(w.dir, "runs") }

// Galleries is the folder of galleries.
func (w *Workspace) Galleries() string { return filepath.Join(w.dir, "galleries") }

// Models is the folder of imported models.
func (w *Workspace) Models() string { return filepath.Join(w.dir, "models") }

// Trash is the folder of deleted things.
func (w *Workspace) Trash() string { return filepath.Join(w.dir, ".trash") }

// Cache is the folder of what can be made again.
func (w *Workspace) Cache() string { return filepath.Join(w.dir, ".cache") }

// Library is the path of the index.
func (w *Workspace) Library() string { return Library(w.dir) }

// Library is the path of the index of the workspace in dir.
func Library(dir string) string { return filepath.Join(dir, "library.db") }

// Queue is the path of the queue.
func (w *Workspace) Queue() string { return filepath.Join(w.dir, "queue.json") }

func (w *Workspace) folders() []string {
	return []string{w.Datasets(), w.Runs(), w.Galleries(), w.Models(), w.Trash(), w.Cache()}
}

// hidden reports names that are this program's own and never a thing of the person's.
func hidden(name string) bool {
	return name == "" || name[0] == '.' || (runtime.GOOS == "windows" && (name == "desktop.ini" || name == "Thumbs.db"))
}

// Subfolders lists the visible folders in dir by name; a missing dir has none.
func Subfolders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, sentence.Errorf("the folder %s cannot be read: %w", dir, disk.Reason(err))
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !hidden(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
