// Package durable writes files and folders so that a crash, a kill or a full disk never leaves half of one in
// place: everything is written under a temporary name beside its target, checked for length, flushed to the disk
// (fsync), renamed, and the folder that holds it is flushed too.
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
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"unnoise/runtime/sentence"
)

// TempPrefix begins the name of every temporary file and folder this package makes. What carries it and is not being
// written now was left by a process that died, and may be removed.
const TempPrefix = ".tmp-"

// File is what a write needs from an open file; *os.File is one.
type File interface {
	io.WriteCloser
	Sync() error
	Stat() (fs.FileInfo, error)
}

// Disk is where writes go. Its zero value is the real disk; a test sets Create to inject a full or failing one.
type Disk struct {
	// Create opens a new file for writing and fails if the path exists. Nil means the real disk.
	Create func(path string) (File, error)
}

func (d Disk) create(path string) (File, error) {
	if d.Create != nil {
		return d.Create(path)
	}
	return CreateNew(path)
}

// CreateNew opens a new file for writing on the real disk; it fails if the path exists.
func CreateNew(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) // the umask decides, as for any other file
	if err != nil {
		return nil, err
	}
	return f, nil
}

// WriteFile atomically creates or replaces the file at path with what write produces. After an error the former file,
// if there was one, is untouched.
func WriteFile(path string, write func(io.Writer) error) error { return Disk{}.WriteFile(path, write) }

// WriteFile is the package's WriteFile on this disk.
func (d Disk) WriteFile(path string, write func(io.Writer) error) (err error) {
	tmp := tempName(path)
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(tmp)))
		}
	}()
	if _, err := d.fill(tmp, write); err != nil {
		return sentence.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return sentence.Errorf("write %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

// fill creates the file, writes it, checks its length and flushes it; it returns the length in bytes.
func (d Disk) fill(path string, write func(io.Writer) error) (n int64, err error) {
	f, err := d.create(path)
	if err != nil {
		return 0, err
	}
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
	disk     Disk
	tmp, dst string

	mu   sync.Mutex
	dirs []string // every folder made, parents first
}

// NewFolder starts a folder that will appear at path; its parent must exist.
func (d Disk) NewFolder(path string) (*Folder, error) {
	tmp := tempName(path)
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return nil, sentence.Errorf("create %s: %w", path, err)
	}
	return &Folder{disk: d, tmp: tmp, dst: path, dirs: []string{tmp}}, nil
}

// Write adds a file; name is relative and slash-separated, and folders in it are made. It returns the file's length
// in bytes. Several files may be written at once.
func (f *Folder) Write(name string, write func(io.Writer) error) (int64, error) {
	if !fs.ValidPath(name) || name == "." || !filepath.IsLocal(filepath.FromSlash(name)) {
		return 0, sentence.Errorf("file name %q leads out of its folder", name)
	}
	if err := f.mkdirs(name); err != nil {
		return 0, sentence.Errorf("write %s: %w", name, err)
	}
	n, err := f.disk.fill(filepath.Join(f.tmp, filepath.FromSlash(name)), write)
	if err != nil {
		return 0, sentence.Errorf("write %s: %w", name, err)
	}
	return n, nil
}

func (f *Folder) mkdirs(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := f.tmp
	parts := strings.Split(name, "/")
	for _, p := range parts[:len(parts)-1] {
		dir = filepath.Join(dir, p)
		if slices.Contains(f.dirs, dir) {
			continue
		}
		if err := os.Mkdir(dir, 0o777); err != nil {
			return err
		}
		f.dirs = append(f.dirs, dir)
	}
	return nil
}

// Commit flushes the folder and gives it its own name, which must be free.
func (f *Folder) Commit() error {
	for _, d := range slices.Backward(f.dirs) {
		if err := SyncDir(d); err != nil {
			return err
		}
	}
	// Rename would silently replace an empty folder on Unix.
	if _, err := os.Lstat(f.dst); err == nil {
		return sentence.Errorf("create %s: %w", f.dst, fs.ErrExist)
	}
	if err := os.Rename(f.tmp, f.dst); err != nil {
		return sentence.Errorf("create %s: %w", f.dst, err)
	}
	return SyncDir(filepath.Dir(f.dst))
}

// Discard removes an uncommitted folder; after Commit it does nothing.
func (f *Folder) Discard() error { return os.RemoveAll(f.tmp) }

// SyncDir flushes a folder's entries, so that a rename in it outlives a power cut. Windows offers no such call and
// needs none: there it does nothing.
func SyncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return sentence.Errorf("flush folder: %w", err)
	}
	defer func() { _ = d.Close() }()
	// Some network and FUSE file systems refuse fsync on a folder; there is nothing better to be had from them.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return sentence.Errorf("flush folder %s: %w", path, err)
	}
	return nil
}

// Sweep removes what dead processes left in dir under temporary names. Nothing may be writing there meanwhile.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return sentence.Errorf("sweep temporary files: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), TempPrefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// RemoveAll removes a folder or file such that it is gone from its name at once, however long the removal takes and
// wherever it is cut short; Sweep finishes a removal that was.
func RemoveAll(path string) error {
	tmp := tempName(path)
	if err := os.Rename(path, tmp); err != nil {
		return err
	}
	if err := SyncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return os.RemoveAll(tmp)
}

// IsFull reports whether err says that the disk, a quota or the largest file size allowed is exhausted.
func IsFull(err error) bool {
	return slices.ContainsFunc(fullErrors, func(e error) bool { return errors.Is(err, e) })
}

func tempName(path string) string {
	base := filepath.Base(path)
	base = strings.ToValidUTF8(base[:min(len(base), 64)], "") // a name of the greatest length must still fit
	return filepath.Join(filepath.Dir(path), fmt.Sprintf("%s%s-%08x", TempPrefix, base, rand.Uint32()))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
