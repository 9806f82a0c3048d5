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
// own) and may change the queue, whose file is locked for the moment of each change. While they
// do, they hold a shared lock that keeps the workspace from being moved under them.
package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adrg/xdg"
	"github.com/gofrs/flock"

	"unnoise/app/disk"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// Version is the version of the workspace's layout. A newer one is refused.
const Version = 1

const (
	format     = "unnoise workspace"
	markerName = "workspace.json"
	lockName   = ".lock"
	placeName  = ".place.lock" // held shared by those who attached, alone by the one who moves the workspace
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
	switch f, err := durable.CreateNew(path); { // through no link
	case err == nil:
		_ = f.Close()
	case !errors.Is(err, fs.ErrExist): // somebody else has called already: that is as good
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
	dir      string
	lock     *flock.Flock // nil when attached or read-only
	place    *flock.Flock // nil when held or read-only
	readOnly bool
	mended   sentence.Text
}

// patience is how long another process is waited for that holds a lock for a moment.
const patience = 3 * time.Second

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
// process has it, a *NewerError when a newer program made it. One that cannot be written is opened for reading.
func Open(dir, what string) (*Workspace, error) {
	w, err := prepare(dir)
	if err != nil {
		return nil, err
	}
	lock := durable.Lock(filepath.Join(w.dir, lockName))
	ok, err := lock.TryLock()
	switch {
	case disk.ReadOnly(err):
		w.readOnly = true
		return w, nil
	case err != nil:
		return nil, sentence.Errorf("the workspace %s cannot be locked: %w", w.dir, disk.Reason(err))
	case !ok:
		return nil, &LockedError{Dir: w.dir, Holder: readHolder(w.dir)}
	}
	host, _ := os.Hostname()
	h := Holder{PID: os.Getpid(), Host: host, What: what, Since: time.Now().Truncate(time.Second)}
	// Who it is only serves others: a disk that is full is no reason not to open.
	if err := disk.WriteJSON(filepath.Join(w.dir, holderName), h); disk.ReadOnly(err) {
		w.readOnly = true
		return w, lock.Unlock()
	}
	w.lock = lock
	return w, nil
}

// Attach opens a workspace beside whoever holds it, making it if there is none. The one
// who attached must not move or delete things that others may use; until Close the workspace stays where it is.
func Attach(dir string) (*Workspace, error) {
	w, err := prepare(dir)
	if err != nil {
		return nil, err
	}
	place := durable.Lock(filepath.Join(w.dir, placeName))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = place.TryRLockContext(ctx, 20*time.Millisecond)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, sentence.T("the workspace {{.Dir}} is being moved: try again when that is done", "Dir", w.dir).Because(err)
	case err != nil: // it cannot be written, so that nobody moves it
		w.readOnly = disk.ReadOnly(err)
		return w, nil
	}
	w.place = place
	if _, err := readMarker(w.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(sentence.T("the workspace {{.Dir}} was moved away just now: try again", "Dir", w.dir).Because(err), w.Close())
	}
	return w, nil
}

// HoldPlace waits for those who attached to the workspace to be done, and keeps others from attaching until the function
// returned is called.
func (w *Workspace) HoldPlace(ctx context.Context) (release func(), err error) {
	place := durable.Lock(filepath.Join(w.dir, placeName))
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := place.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, sentence.T("the workspace {{.Dir}} cannot be moved now: a command is still working in it; wait for that or stop it", "Dir", w.dir).Because(err)
		}
		return nil, sentence.Errorf("the workspace %s cannot be locked: %w", w.dir, disk.Reason(err))
	}
	return func() { _ = place.Unlock() }, nil
}

func prepare(dir string) (*Workspace, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, sentence.Errorf("the workspace's path %q cannot be used: %w", dir, err)
	}
	w := &Workspace{dir: abs}
	m, err := readMarker(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return w, w.create()
	case damaged(err):
		return w, w.mend(err)
	case err != nil:
		return nil, err
	case m.Version > Version:
		return nil, &NewerError{Dir: abs, Version: m.Version}
	}
	for _, d := range w.folders() {
		if err := durable.MkdirAll(d); err != nil && !disk.ReadOnly(err) {
			return nil, sentence.T("the workspace {{.Dir}} cannot be written: {{.Problem}}; change its permissions or choose another folder", "Dir", abs, "Problem", disk.Reason(err)).Because(err)
		}
	}
	return w, nil
}

// create makes a new workspace, or finishes making one: of several processes that do so at once, or after one that was
// killed, each ends with a whole one. A folder that holds other things is refused: a workspace owns its folder, and moving
// it moves everything in it. One that is plainly a workspace only lost its marker.
func (w *Workspace) create() error {
	name, err := w.stranger()
	switch {
	case err != nil:
		return err
	case name != "" && !w.plain():
		return sentence.T("the folder {{.Dir}} is not a workspace and already holds {{.Name}}: choose an empty folder", "Dir", w.dir, "Name", strconv.Quote(name))
	}
	for _, d := range append([]string{w.dir}, w.folders()...) {
		if err := durable.MkdirAll(d); err != nil && !(disk.ReadOnly(err) && w.plain()) {
			return w.notMade(err)
		}
	}
	path := filepath.Join(w.dir, markerName)
	err = durable.WriteNew(path, func(out io.Writer) error {
		return json.NewEncoder(out).Encode(marker{Format: format, Version: Version, Created: time.Now().Truncate(time.Second)})
	})
	switch {
	case errors.Is(err, fs.ErrExist): // another process was faster
		m, err := readMarker(w.dir)
		if err == nil && m.Version > Version {
			err = &NewerError{Dir: w.dir, Version: m.Version}
		}
		return err
	case disk.ReadOnly(err) && w.plain():
		return nil
	case err != nil:
		return w.notMade(err)
	}
	return nil
}

// mend makes the marker of a workspace anew and keeps the damaged one beside it: it says nothing but the format.
func (w *Workspace) mend(damage error) error {
	path := filepath.Join(w.dir, markerName)
	if !w.plain() {
		if name, err := w.stranger(); err != nil || name != "" {
			return sentence.Errorf("%w; choose another folder", damage)
		}
		return sentence.Errorf("%w; if the folder is a workspace, move that file away and open it again", damage)
	}
	aside, err := durable.KeepAside(path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // another process was faster
	case disk.ReadOnly(err):
		return nil
	case err != nil:
		return sentence.Errorf("%w; it cannot be made anew: %w", damage, disk.Reason(err))
	default:
		w.mended = sentence.T("The file {{.Path}} was damaged and was made anew; what it was is kept as {{.Aside}}.", "Path", path, "Aside", aside)
	}
	return w.create()
}

// plain reports whether the folder is plainly a workspace, whatever became of its marker.
func (w *Workspace) plain() bool {
	for _, d := range []string{w.Datasets(), w.Runs(), w.Galleries()} {
		if st, err := os.Stat(d); err != nil || !st.IsDir() {
			return false
		}
	}
	return true
}

// litter is what systems and file managers leave in folders of themselves.
var litter = map[string]bool{
	".ds_store": true, ".localized": true, ".directory": true, ".hidden": true, "thumbs.db": true, "desktop.ini": true,
	"lost+found": true, "@eadir": true, "$recycle.bin": true, "system volume information": true,
	".spotlight-v100": true, ".fseventsd": true, ".trashes": true, ".temporaryitems": true, ".stfolder": true, ".sync": true,
}

// stranger is the name of something in the folder that belongs neither to a workspace nor to the system; "" if there is
// none or no folder.
func (w *Workspace) stranger() (string, error) {
	entries, err := os.ReadDir(w.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", sentence.Errorf("the workspace %s cannot be read: %w", w.dir, disk.Reason(err))
	}
	own := []string{
		markerName, lockName, placeName, holderName, callName, "queue.json", "queue.lock",
		"library.db", "library.db-wal", "library.db-shm", "library.db-journal",
	}
	for _, d := range w.folders() {
		own = append(own, filepath.Base(d))
	}
	for _, e := range entries {
		name := e.Name()
		switch {
		case slices.Contains(own, name), strings.HasPrefix(name, markerName+durable.AsideSuffix), durable.IsTemp(name),
			litter[strings.ToLower(name)], strings.HasPrefix(name, "._"), strings.HasPrefix(name, ".Trash-"), strings.HasPrefix(name, ".nfs"):
			continue
		}
		return name, nil
	}
	return "", nil
}

func (w *Workspace) notMade(err error) error {
	return sentence.T("the workspace {{.Dir}} cannot be made: {{.Problem}}; choose another folder", "Dir", w.dir, "Problem", disk.Reason(err)).Because(err)
}

// damaged tells damage from what could not be read just now, or is another program's.
func damaged(err error) bool {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, typ := errors.AsType[*json.UnmarshalTypeError](err)
	return syntax || typ || errors.Is(err, durable.ErrTooLarge)
}

func readMarker(dir string) (marker, error) {
	var m marker
	path := filepath.Join(dir, markerName)
	if err := disk.ReadJSON(path, 1<<16, &m); err != nil {
		return m, err
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
	if w.place != nil {
		place := w.place
		w.place = nil
		return place.Unlock()
	}
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

// ReadOnly reports whether the workspace cannot be written.
func (w *Workspace) ReadOnly() bool { return w.readOnly }

// Mended tells what was mended when the workspace was opened, nothing as a rule.
func (w *Workspace) Mended() sentence.Text { return w.mended }

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
