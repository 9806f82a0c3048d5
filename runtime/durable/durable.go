// Package durable writes files and folders so that a crash, a kill or a full disk never leaves half of one in
// place: everything is written under a temporary name beside its target, checked for length, flushed to the disk
// (fsync), renamed, and the folder that holds it is flushed too.
//
// Three rules guard what is not this program's. What must be new is made such that nothing is ever replaced, however late
// it came ([WriteNew], [Disk.NewFolder], [RenameNew]). Only regular files are opened ([Open], [ReadFile], [Lock]): a pipe or
// a device in the place of a file is refused and not waited for. And within a folder that came from elsewhere, a [Disk]
// with a Root follows no link out of it.
//
// It exists because github.com/google/renameio/v2 offers no such write on Windows, writes single files only and has
// no seam through which a test can fill the disk.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"unnoise/runtime/sentence"
)

// TempPrefix begins the name of every temporary file and folder this package makes, and marks it as this program's. What
// carries such a name (IsTemp) and is held by no process was left by one that died, and may be removed.
const TempPrefix = ".tmp-unnoise-"

// formerTemp is how versions before named what was being written. Other programs begin their own names with .tmp-, too,
// and may end them with a date.
var formerTemp = regexp.MustCompile(`^\.tmp-(?:(?:probe|workspace|demo)-[0-9]+|(.+)-([0-9a-f]{8}))$`)

// IsTemp reports whether a file or folder of this name is a temporary one of this program.
func IsTemp(name string) bool {
	_, ok := becomes(name)
	return ok
}

// Becomes is for SweepFor: what was to have one of these names.
func Becomes(names ...string) func(name string) bool {
	return func(name string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return shorten(n) == name })
	}
}

// shorten is the part of a name that its temporary one keeps: a name of the greatest length must still fit.
func shorten(name string) string { return strings.ToValidUTF8(name[:min(len(name), 64)], "") }

// becomes is the name, perhaps shortened, that a temporary file or folder was to have.
func becomes(temp string) (name string, ok bool) {
	if name, ok := strings.CutPrefix(temp, TempPrefix); ok {
		if i := strings.LastIndexByte(name, '-'); i >= 0 {
			name = name[:i]
		}
		return name, true
	}
	m := formerTemp.FindStringSubmatch(temp)
	if m == nil || (m[2] != "" && strings.Trim(m[2], "0123456789") == "") {
		return "", false
	}
	return m[1], true
}

// ErrNotRegular says that there is a pipe, a device, a socket or a folder in the place of a file.
var ErrNotRegular = sentence.Errorf("it is not a regular file")

// ErrOutside says that a link leads out of the folder below which a disk stays.
var ErrOutside = sentence.Errorf("a link leads out of the folder it is in: put what it points to in its place")

// ErrTooLarge says that a file is larger than any that is expected in its place.
var ErrTooLarge = sentence.Errorf("the file is too large")

// File is what a write needs from an open file; *os.File is one.
type File interface {
	io.WriteCloser
	Sync() error
	Stat() (fs.FileInfo, error)
}

// Disk is where files are read and written. Its zero value is the real disk, and the package's functions are its methods.
type Disk struct {
	// Root, if not nil, is the folder below which everything stays: paths are relative to it, and a link that leads out
	// is an error.
	Root *os.Root
	// Create opens a new file for writing and fails if the path exists; a test sets it to inject a full or failing disk.
	// Nil means the real one.
	Create func(path string) (File, error)
}

// Below opens dir, which may be reached through links, as the folder below which a disk stays. Its Root is to be closed.
func Below(dir string) (Disk, error) { return Disk{}.Sub(dir) }

// Sub is the disk of a folder on this one: it stays below that folder. Its Root is to be closed.
func (d Disk) Sub(dir string) (Disk, error) {
	root, err := d.open(dir)
	if err != nil {
		return Disk{}, sentence.Errorf("the folder %s cannot be opened: %w", d.Path(dir), reason(err))
	}
	return Disk{Root: root, Create: d.Create}, nil
}

// Path is how a path of this disk is told to people and given to other libraries, which follow links.
func (d Disk) Path(path string) string {
	if d.Root == nil {
		return path
	}
	return filepath.Join(d.Root.Name(), path)
}

// open opens a folder.
func (d Disk) open(dir string) (*os.Root, error) {
	switch st, err := d.stat(dir); { // OpenRoot would wait for the other end of a pipe
	case err != nil:
		return nil, err
	case !st.IsDir():
		return nil, syscall.ENOTDIR
	case d.Root == nil:
		return os.OpenRoot(dir)
	}
	return d.Root.OpenRoot(dir)
}

// ReadDir lists a folder, sorted by name. A pipe in its place is not waited for.
func (d Disk) ReadDir(dir string) ([]fs.DirEntry, error) {
	root, err := d.open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	return fs.ReadDir(root.FS(), ".")
}

// parent opens the folder of a path and returns the name within it.
func (d Disk) parent(path string) (*os.Root, string, error) {
	dir, err := d.open(filepath.Dir(path))
	return dir, filepath.Base(path), err
}

func (d Disk) stat(path string) (fs.FileInfo, error) {
	if d.Root == nil {
		return os.Stat(path)
	}
	return d.Root.Stat(path)
}

func (d Disk) lstat(path string) (fs.FileInfo, error) {
	if d.Root == nil {
		return os.Lstat(path)
	}
	return d.Root.Lstat(path)
}

func (d Disk) openFile(path string, flag int) (*os.File, error) {
	if d.Root == nil {
		return os.OpenFile(path, flag, 0o666)
	}
	return d.Root.OpenFile(path, flag, 0o666)
}

// CreateNew opens a new file for writing on the real disk; it fails if the path exists.
func CreateNew(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) // the umask decides, as for any other file
	if err != nil {
		return nil, err
	}
	return f, nil
}

// create makes a new file in an open folder.
func (d Disk) create(dir *os.Root, name string) (File, error) {
	if d.Create != nil {
		return d.Create(filepath.Join(dir.Name(), name))
	}
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// WriteFile atomically creates or replaces the file at path with what write produces. After an error the former file,
// if there was one, is untouched. A link at path is replaced itself, never written through.
func WriteFile(path string, write func(io.Writer) error) error { return Disk{}.WriteFile(path, write) }

// WriteFile is the package's WriteFile on this disk.
func (d Disk) WriteFile(path string, write func(io.Writer) error) error {
	return d.place(path, write, func(dir *os.Root, tmp, name string) error { return dir.Rename(tmp, name) })
}

// WriteNew atomically creates the file at path with what write produces. Nothing is ever replaced, even what came there
// while write ran: the error wraps fs.ErrExist then.
func WriteNew(path string, write func(io.Writer) error) error { return Disk{}.WriteNew(path, write) }

// WriteNew is the package's WriteNew on this disk.
func (d Disk) WriteNew(path string, write func(io.Writer) error) error {
	if err := d.Vacant(path); err != nil {
		return err
	}
	err := d.place(path, write, func(dir *os.Root, tmp, name string) error { return renameNew(dir, tmp, dir, name) })
	if errors.Is(err, fs.ErrExist) {
		return d.taken(path)
	}
	return err
}

// WriteOver is WriteNew that may replace a regular file if mine, which reads it, finds nothing against that.
func (d Disk) WriteOver(path string, mine func(*os.File) error, write func(io.Writer) error) error {
	check := func() error {
		if d.Vacant(path) == nil {
			return nil
		}
		f, err := d.Open(path)
		if err == nil {
			err = errors.Join(mine(f), f.Close())
		}
		if err != nil {
			return d.taken(path)
		}
		return nil
	}
	if err := check(); err != nil {
		return err
	}
	return d.place(path, write, func(dir *os.Root, tmp, name string) error {
		err := renameNew(dir, tmp, dir, name)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := check(); err != nil { // it may have come, or changed, meanwhile
			return err
		}
		return dir.Rename(tmp, name)
	})
}

// Vacant returns an error that wraps fs.ErrExist where there is something at path, be it a link to nowhere. It is for the
// door, before the work: WriteNew, NewFolder and RenameNew say the same once more when they find something.
func Vacant(path string) error { return Disk{}.Vacant(path) }

// Vacant is the package's Vacant on this disk.
func (d Disk) Vacant(path string) error {
	if _, err := d.lstat(path); err == nil {
		return d.taken(path)
	}
	return nil // whatever else is wrong is told where it is written
}

func (d Disk) taken(path string) error {
	return sentence.T("{{.Path}} exists already: choose another name", "Path", d.Path(path)).Because(fs.ErrExist)
}

// place fills a temporary file and gives it its own name with put.
func (d Disk) place(path string, write func(io.Writer) error, put func(dir *os.Root, tmp, name string) error) (err error) {
	dir, name, err := d.parent(path)
	if err != nil {
		return sentence.Errorf("write %s: %w", d.Path(path), reason(err))
	}
	defer func() { _ = dir.Close() }()
	d.tidy(filepath.Dir(path))
	tmp, f, release, err := d.temp(dir, name)
	if err != nil {
		return sentence.Errorf("write %s: %w", d.Path(path), reason(err))
	}
	defer release()
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(dir.Remove(tmp)))
		}
	}()
	if _, err := fill(f, write); err != nil {
		return sentence.Errorf("write %s: %w", d.Path(path), reason(err))
	}
	if err := put(dir, tmp, name); err != nil {
		return sentence.Errorf("write %s: %w", d.Path(path), reason(err))
	}
	return syncDir(dir)
}

// temp makes a temporary file for name in an open folder and holds it against Sweep until release is called.
func (d Disk) temp(dir *os.Root, name string) (tmp string, f File, release func(), err error) {
	for {
		tmp = tempName(name)
		if f, err = d.create(dir, tmp); err != nil {
			return "", nil, nil, err
		}
		file, ok := f.(*os.File)
		if !ok || d.Create != nil { // a test's
			return tmp, f, func() {}, nil
		}
		release = hold(file)
		if there(dir, tmp, file) {
			return tmp, f, release, nil
		}
		// It was swept before it was held.
		release()
		_ = f.Close()
	}
}

// there reports whether a file or folder is still what its name stands for.
func there(dir *os.Root, name string, f *os.File) bool {
	is, err := f.Stat()
	if err != nil {
		return true // the next call says why
	}
	st, err := dir.Lstat(name)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return os.SameFile(is, st)
}

// fill writes a new file, checks its length, flushes and closes it; it returns the length in bytes.
func fill(f File, write func(io.Writer) error) (n int64, err error) {
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	c := &counter{w: f}
	if err := write(c); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() != c.n {
		return 0, sentence.Errorf("%d bytes were written but the file holds %d", c.n, info.Size())
	}
	return c.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Folder is a folder being written. It becomes visible under its own name, complete, on Commit.
type Folder struct {
	disk      Disk
	path      string   // where it will be
	dir, made *os.Root // the folder around it, and itself, open under its temporary name
	release   func()   // lets go of it, for Sweep

	mu   sync.Mutex
	dirs []string // every folder made within it, parents first
}

// NewFolder starts a folder that will appear at path; its parent must exist. What dead processes left of the same folder
// goes.
func (d Disk) NewFolder(path string) (*Folder, error) {
	dir, name, err := d.parent(path)
	if err != nil {
		return nil, sentence.Errorf("create %s: %w", d.Path(path), reason(err))
	}
	_ = d.SweepFor(filepath.Dir(path), Becomes(name)) // whatever is wrong is told by the next call
	d.tidy(filepath.Dir(path))
	for {
		tmp := tempName(name)
		if err := dir.Mkdir(tmp, 0o777); err != nil {
			return nil, sentence.Errorf("create %s: %w", d.Path(path), errors.Join(reason(err), dir.Close()))
		}
		made, release, err := holdFolder(dir, tmp)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was swept before it was held
		}
		if err != nil {
			return nil, sentence.Errorf("create %s: %w", d.Path(path), errors.Join(reason(err), dir.RemoveAll(tmp), dir.Close()))
		}
		return &Folder{disk: d, path: path, dir: dir, made: made, release: release, dirs: []string{"."}}, nil
	}
}

// WriteFolder makes a folder of these files, which appears whole or not at all. Nothing is ever replaced: if something has
// its name, the error wraps fs.ErrExist.
func (d Disk) WriteFolder(path string, files map[string]func(io.Writer) error) error {
	f, err := d.NewFolder(path)
	if err != nil {
		return err
	}
	for name, write := range files {
		if _, err := f.Write(name, write); err != nil {
			return errors.Join(err, f.Discard())
		}
	}
	if err := f.Commit(); err != nil {
		return errors.Join(err, f.Discard())
	}
	return nil
}

// TempDir makes a temporary folder that only this user may read, for what is to become path, and holds it against Sweep
// until release is called; whoever asks for it removes or renames it.
func TempDir(path string) (dir string, release func(), err error) {
	parent, name, err := Disk{}.parent(path)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = parent.Close() }()
	for {
		tmp := tempName(name)
		if err := parent.Mkdir(tmp, 0o700); err != nil {
			return "", nil, err
		}
		made, release, err := holdFolder(parent, tmp)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was swept before it was held
		}
		if err != nil {
			return "", nil, errors.Join(err, parent.RemoveAll(tmp))
		}
		return filepath.Join(filepath.Dir(path), tmp), release, made.Close()
	}
}

// holdFolder opens a temporary folder and holds it against Sweep until release is called.
func holdFolder(dir *os.Root, tmp string) (made *os.Root, release func(), err error) {
	if made, err = dir.OpenRoot(tmp); err != nil {
		return nil, nil, err
	}
	self, err := made.Open(".")
	if err != nil {
		return nil, nil, errors.Join(err, made.Close())
	}
	release = hold(self)
	ok := there(dir, tmp, self)
	_ = self.Close()
	if !ok {
		release()
		return nil, nil, errors.Join(fs.ErrNotExist, made.Close())
	}
	return made, release, nil
}

// Write adds a file; name is relative and slash-separated, and folders in it are made. It returns the file's length
// in bytes. Several files may be written at once.
func (f *Folder) Write(name string, write func(io.Writer) error) (int64, error) {
	if !fs.ValidPath(name) || name == "." || !filepath.IsLocal(filepath.FromSlash(name)) {
		return 0, sentence.Errorf("file name %q leads out of its folder", name)
	}
	if err := f.mkdirs(path.Dir(name)); err != nil {
		return 0, sentence.Errorf("write %s: %w", name, reason(err))
	}
	file, err := f.disk.create(f.made, filepath.FromSlash(name))
	if err != nil {
		return 0, sentence.Errorf("write %s: %w", name, reason(err))
	}
	n, err := fill(file, write)
	if err != nil {
		return 0, sentence.Errorf("write %s: %w", name, reason(err))
	}
	return n, nil
}

func (f *Folder) mkdirs(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Contains(f.dirs, dir) {
		return nil
	}
	parts := strings.Split(dir, "/")
	for i := range parts {
		d := strings.Join(parts[:i+1], "/")
		if slices.Contains(f.dirs, d) {
			continue
		}
		if err := f.made.Mkdir(filepath.FromSlash(d), 0o777); err != nil {
			return err
		}
		f.dirs = append(f.dirs, d)
	}
	return nil
}

// Commit flushes the folder and gives it its own name. Nothing is ever replaced: if something has that name, the error
// wraps fs.ErrExist.
func (f *Folder) Commit() error {
	for _, d := range slices.Backward(f.dirs) {
		if err := (Disk{Root: f.made}).SyncDir(filepath.FromSlash(d)); err != nil {
			return err
		}
	}
	tmp := filepath.Base(f.made.Name())
	_ = f.made.Close() // Windows renames no folder that is open
	defer f.release()
	err := renameNew(f.dir, tmp, f.dir, filepath.Base(f.path))
	switch {
	case errors.Is(err, fs.ErrExist):
		return f.disk.taken(f.path)
	case err != nil:
		return sentence.Errorf("create %s: %w", f.disk.Path(f.path), reason(err))
	}
	err = syncDir(f.dir)
	_ = f.dir.Close()
	return err
}

// Discard removes an uncommitted folder; after Commit it does nothing.
func (f *Folder) Discard() error {
	defer f.release()
	_ = f.made.Close()
	err := f.dir.RemoveAll(filepath.Base(f.made.Name()))
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return errors.Join(err, f.dir.Close())
}

// MkdirAll makes a folder and those around it that are missing, and flushes each new one in the folder that holds it.
func MkdirAll(dir string) error { return Disk{}.MkdirAll(dir) }

// MkdirAll is the package's MkdirAll on this disk.
func (d Disk) MkdirAll(dir string) error {
	if st, err := d.stat(dir); err == nil {
		if !st.IsDir() {
			return sentence.Errorf("create %s: %w", d.Path(dir), syscall.ENOTDIR)
		}
		return nil
	} else if errors.Is(reason(err), ErrOutside) {
		return sentence.Errorf("create %s: %w", d.Path(dir), ErrOutside)
	}
	up := filepath.Dir(dir)
	if up != dir {
		if err := d.MkdirAll(up); err != nil {
			return err
		}
	}
	parent, name, err := d.parent(dir)
	if err != nil {
		return sentence.Errorf("create %s: %w", d.Path(dir), reason(err))
	}
	defer func() { _ = parent.Close() }()
	if err := parent.Mkdir(name, 0o777); err != nil {
		if st, serr := d.stat(dir); serr == nil && st.IsDir() {
			return nil // another process was faster
		}
		return sentence.Errorf("create %s: %w", d.Path(dir), reason(err))
	}
	return syncDir(parent)
}

// Open opens a regular file for reading. A pipe, a device or a socket in its place is refused at once, with an error that
// wraps ErrNotRegular: opening or reading one might never end.
func Open(path string) (*os.File, error) { return Disk{}.Open(path) }

// Open is the package's Open on this disk.
func (d Disk) Open(path string) (*os.File, error) { return d.regular(path, os.O_RDONLY) }

// OpenAppend opens a regular file for appending, and makes it if it is not there.
func (d Disk) OpenAppend(path string) (*os.File, error) {
	switch st, err := d.lstat(path); {
	case err == nil && !st.Mode().IsRegular(): // nor is a link written through
		return nil, d.irregular(path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return d.regular(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE)
}

func (d Disk) regular(path string, flag int) (*os.File, error) {
	// Opening a device may do something, so it is looked at first. What takes its place in between does not block.
	if st, err := d.stat(path); err == nil && !st.Mode().IsRegular() {
		return nil, d.irregular(path)
	}
	f, err := d.openFile(path, flag|nonBlocking)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = d.irregular(path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d Disk) irregular(path string) error {
	return sentence.T("{{.Path}} is not a regular file but a pipe, a device, a link or a folder: remove it", "Path", d.Path(path)).Because(ErrNotRegular)
}

// ReadFile reads a regular file of at most limit bytes.
func ReadFile(path string, limit int64) ([]byte, error) { return Disk{}.ReadFile(path, limit) }

// ReadFile is the package's ReadFile on this disk.
func (d Disk) ReadFile(path string, limit int64) (_ []byte, err error) {
	f, err := d.OpenUpTo(path, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit { // it grew
		return nil, d.tooLarge(path, limit)
	}
	return b, nil
}

// OpenUpTo opens a regular file of at most limit bytes for reading.
func OpenUpTo(path string, limit int64) (*os.File, error) { return Disk{}.OpenUpTo(path, limit) }

// OpenUpTo is the package's OpenUpTo on this disk.
func (d Disk) OpenUpTo(path string, limit int64) (*os.File, error) {
	f, err := d.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.Size() > limit {
		err = d.tooLarge(path, limit)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d Disk) tooLarge(path string, limit int64) error {
	return sentence.T("the file {{.Path}} is too large to be one of this program's (over {{.Limit}} bytes)", "Path", d.Path(path), "Limit", limit).
		Because(ErrTooLarge)
}

// Lock is a lock on the file at path, which is made when it is first taken. A link there is not followed, and a pipe is not
// waited for.
func Lock(path string) *flock.Flock {
	flag := os.O_CREATE | os.O_RDONLY
	return flock.New(path, flock.SetFlag(flag|nonBlocking|noFollow))
}

// SyncDir flushes a folder's entries, so that a rename in it outlives a power cut. Windows offers no such call and
// needs none: there it does nothing.
func SyncDir(path string) error { return Disk{}.SyncDir(path) }

// SyncDir is the package's SyncDir on this disk.
func (d Disk) SyncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := d.open(path)
	if err != nil {
		return sentence.Errorf("flush folder: %w", err)
	}
	defer func() { _ = dir.Close() }()
	return syncDir(dir)
}

func syncDir(dir *os.Root) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := dir.Open(".")
	if err != nil {
		return sentence.Errorf("flush folder: %w", err)
	}
	defer func() { _ = f.Close() }()
	// Some network and FUSE file systems refuse fsync on a folder; there is nothing better to be had from them.
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return sentence.Errorf("flush folder %s: %w", dir.Name(), err)
	}
	return nil
}

// Sweep removes what dead processes left in dir under temporary names. What a living process is writing there stays.
func Sweep(dir string) error { return Disk{}.Sweep(dir) }

// Sweep is the package's Sweep on this disk.
func (d Disk) Sweep(dir string) error { return d.SweepFor(dir, func(string) bool { return true }) }

// SweepFor is Sweep in a folder that others use, too: only what was to have a name that is mine is removed. Of a
// longer name, its first 64 bytes are given to mine.
func SweepFor(dir string, mine func(name string) bool) error { return Disk{}.SweepFor(dir, mine) }

// SweepFor is the package's SweepFor on this disk.
func (d Disk) SweepFor(dir string, mine func(name string) bool) error {
	return d.sweep(dir, func(temp string, _ func() (fs.FileInfo, error)) bool {
		name, ok := becomes(temp)
		return ok && mine(name)
	})
}

// Tidy is Sweep where another process may be writing just now. Versions before held nothing of what they wrote: of theirs
// only what is a day old goes.
func (d Disk) Tidy(dir string) error {
	return d.sweep(dir, func(temp string, info func() (fs.FileInfo, error)) bool {
		if strings.HasPrefix(temp, TempPrefix) {
			return true
		}
		if !IsTemp(temp) {
			return false
		}
		st, err := info()
		return err == nil && time.Since(st.ModTime()) > abandoned
	})
}

// tidied are the folders that this process has tidied.
var tidied sync.Map

// tidy is Tidy before the first write of this process into a folder. Whatever is wrong is told by the write.
func (d Disk) tidy(dir string) {
	path, err := filepath.Abs(d.Path(dir))
	if err != nil {
		return
	}
	if _, done := tidied.LoadOrStore(path, true); !done {
		_ = d.Tidy(dir)
	}
}

// sweep removes the temporary files and folders that are wanted gone and that no process holds.
func (d Disk) sweep(path string, want func(temp string, info func() (fs.FileInfo, error)) bool) error {
	dir, err := d.open(path)
	if err != nil {
		return sentence.Errorf("sweep temporary files in %s: %w", d.Path(path), reason(err))
	}
	defer func() { _ = dir.Close() }()
	self, err := dir.Open(".")
	if err != nil {
		return sentence.Errorf("sweep temporary files in %s: %w", d.Path(path), reason(err))
	}
	defer func() { _ = self.Close() }()
	names, err := self.Readdirnames(-1)
	if err != nil {
		return sentence.Errorf("sweep temporary files in %s: %w", d.Path(path), reason(err))
	}
	var errs []error
	for _, n := range names {
		if want(n, func() (fs.FileInfo, error) { return dir.Lstat(n) }) {
			errs = append(errs, sweepOne(dir, n))
		}
	}
	return errors.Join(errs...)
}

// abandoned is how old something under a temporary name is when nobody can still be writing it, where the file system has
// no locks that would tell.
const abandoned = 24 * time.Hour

// sweepOne removes a temporary file or folder if no process holds it.
func sweepOne(dir *os.Root, name string) error {
	st, err := dir.Lstat(name)
	if err != nil {
		return ignoreMissing(err)
	}
	if !st.IsDir() && !st.Mode().IsRegular() {
		return nil // none that this package makes
	}
	held, told, release := heldBy(dir, name)
	defer release()
	if held || (!told && time.Since(st.ModTime()) < abandoned) {
		return nil
	}
	if err := dir.RemoveAll(name); !inUse(err) {
		return err
	}
	return nil
}

// RemoveAll removes a folder or file such that it is gone from its name at once, however long the removal takes and
// wherever it is cut short; Sweep finishes a removal that was. Of a link, the link is removed.
func RemoveAll(path string) error { return Disk{}.RemoveAll(path) }

// RemoveAll is the package's RemoveAll on this disk.
func (d Disk) RemoveAll(path string) error {
	dir, name, err := d.parent(path)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	tmp := tempName(name)
	if err := dir.Rename(name, tmp); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return dir.RemoveAll(tmp)
}

// RenameNew renames a file or folder to a path that must be free, on the same file system, and flushes the folders
// of both. Nothing is ever replaced: if something is there, the error wraps fs.ErrExist.
func RenameNew(old, path string) error { return Disk{}.RenameNew(old, path) }

// RenameNew is the package's RenameNew on this disk.
func (d Disk) RenameNew(old, path string) error {
	from, oldName, err := d.parent(old)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, name, err := d.parent(path)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	switch err := renameNew(from, oldName, to, name); {
	case errors.Is(err, fs.ErrExist):
		return d.taken(path)
	case err != nil:
		return &os.LinkError{Op: "rename", Old: d.Path(old), New: d.Path(path), Err: reason(err)}
	}
	return errors.Join(syncDir(to), syncDir(from))
}

// AsideSuffix is added, with a number if need be, to the name of a damaged file that is kept.
const AsideSuffix = ".damaged"

// KeepAside gives a damaged file another name beside it, one that is free, to make room for a new one.
func KeepAside(path string) (aside string, err error) {
	for n := 1; n <= 1000; n++ {
		aside = path + AsideSuffix
		if n > 1 {
			aside = fmt.Sprintf("%s-%d", aside, n)
		}
		if err = RenameNew(path, aside); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return aside, err
}

// reserve is renameNew where the system cannot rename without replacing: the name is taken first, in a way that fails if
// it is not free.
func reserve(from *os.Root, old string, to *os.Root, name string) error {
	st, err := from.Lstat(old)
	if err != nil {
		return err
	}
	oldPath, path := filepath.Join(from.Name(), old), filepath.Join(to.Name(), name)
	if st.IsDir() { // an empty folder is replaced by a rename, and a full one is not
		if err := to.Mkdir(name, 0o777); err != nil {
			return err
		}
		if err := syscall.Rename(oldPath, path); err != nil { // os.Rename refuses folders
			return errors.Join(err, ignoreMissing(to.Remove(name)))
		}
		return nil
	}
	switch err := os.Link(oldPath, path); {
	case err == nil:
		return from.Remove(old)
	case errors.Is(err, fs.ErrExist):
		return err
	}
	// A file system without hard links, such as FAT.
	f, err := to.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Close(), os.Rename(oldPath, path)); err != nil {
		return errors.Join(err, ignoreMissing(to.Remove(name)))
	}
	return nil
}

// IsFull reports whether err says that the disk, a quota or the largest file size allowed is exhausted.
func IsFull(err error) bool {
	return slices.ContainsFunc(fullErrors, func(e error) bool { return errors.Is(err, e) })
}

func tempName(name string) string {
	return fmt.Sprintf("%s%s-%08x", TempPrefix, shorten(name), rand.Uint32())
}

// reason is what the system says of a failed call, without the call and the temporary name.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok && e.Err.Error() == "path escapes from parent" { // os has no name for it
		return ErrOutside
	}
	switch e := err.(type) { //nolint:errorlint // only the outermost is taken off
	case *fs.PathError:
		return e.Err
	case *os.LinkError:
		return e.Err
	}
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
