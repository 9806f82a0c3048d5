package workspace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"unnoise/app/disk"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// moved is a file that was copied and compared.
type moved struct {
	size int64
	mod  int64
	mode fs.FileMode
}

// passes is how often what changed while it was copied is copied again.
const passes = 20

// CopyTo copies the workspace into dir, which must be empty or missing and not within the
// workspace, and compares every copy with its original; who may read and write what stays as it is. The index and the
// caches, which are made again, stay behind. What changes meanwhile is copied again, and quiet is asked before the end
// whether somebody still works in the workspace. The copy appears under its name only when it is complete. It returns a
// function that removes the originals, to be called once the new place is in use; a file
// that has changed since it was copied is kept.
func (w *Workspace) CopyTo(ctx context.Context, dir string, quiet func() error, progress func(done, total int64, item string)) (removeOld func() error, err error) {
	dst, err := filepath.Abs(dir)
	if err != nil {
		return nil, sentence.Errorf("the path %q cannot be used: %w", dir, err)
	}
	if inside(w.dir, dst) || inside(dst, w.dir) {
		return nil, sentence.Errorf("the workspace cannot be moved from %s to %s: one is within the other; choose a folder outside", w.dir, dst)
	}
	entries, err := os.ReadDir(dst)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, sentence.Errorf("the folder %s cannot be read: %w", dst, disk.Reason(err))
	}
	if len(entries) > 0 {
		return nil, sentence.Errorf("the folder %s already holds %q: choose an empty or a new one", dst, entries[0].Name())
	}
	exists := err == nil

	found, err := w.inventory(ctx)
	if err != nil {
		return nil, err
	}
	parent := filepath.Dir(dst)
	if err := durable.MkdirAll(parent); err != nil {
		return nil, sentence.Errorf("the folder %s cannot be made: %w", parent, disk.Reason(err))
	}
	if err := disk.Require(disk.Free, parent, found.total+found.total/50+1<<20, sentence.T("the workspace")); err != nil {
		return nil, err
	}
	tmp, release, err := durable.TempDir(dst)
	if err != nil {
		return nil, sentence.Errorf("the folder %s cannot be written: %w", parent, disk.Reason(err))
	}
	defer release()
	defer func() {
		if err != nil {
			err = errors.Join(err, removeReadOnly(tmp))
		}
	}()
	c := copier{from: w.dir, to: tmp, files: make(map[string]moved), progress: progress}
	for pass := 0; ; pass++ {
		changed, err := c.pass(ctx, found)
		if err != nil {
			return nil, err
		}
		if changed == 0 && pass > 0 {
			break
		}
		if pass == passes {
			return nil, sentence.Errorf("the workspace %s cannot be moved: something keeps writing into it; stop that first", w.dir)
		}
		if found, err = w.inventory(ctx); err != nil {
			return nil, err
		}
	}
	if quiet != nil {
		if err := quiet(); err != nil {
			return nil, err
		}
	}
	mode := found.dirs["."]
	if exists {
		st, err := os.Stat(dst)
		if err == nil {
			mode &= st.Mode().Perm() | 0o700 // a folder that was made for few stays theirs
			err = os.Remove(dst)
		}
		if err != nil {
			return nil, sentence.Errorf("the folder %s cannot be replaced: %w; choose a new folder within it", dst, disk.Reason(err))
		}
	}
	found.dirs["."] = mode
	for _, d := range found.deepestFirst() {
		path := filepath.Join(tmp, d)
		if err := os.Chmod(path, found.dirs[d]); err != nil {
			return nil, sentence.Errorf("the folder %s cannot be written: %w", path, disk.Reason(err))
		}
		if err := durable.SyncDir(path); err != nil {
			return nil, err
		}
	}
	if err := durable.RenameNew(tmp, dst); err != nil {
		return nil, sentence.Errorf("the folder %s cannot be made: %w", dst, disk.Reason(err))
	}
	return func() error { return w.removeCopied(c.files, found) }, nil
}

// copier copies the files of a workspace and remembers what it copied.
type copier struct {
	from, to string
	files    map[string]moved
	done     int64
	progress func(done, total int64, item string)
}

// pass copies what is new or has changed since it was copied, and drops what is not there any more.
func (c *copier) pass(ctx context.Context, found inventory) (changed int, err error) {
	for _, d := range slices.Backward(found.deepestFirst()) {
		if err := os.Mkdir(filepath.Join(c.to, d), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return 0, sentence.Errorf("the folder %s cannot be made: %w", filepath.Join(c.to, d), disk.Reason(err))
		}
	}
	for rel := range c.files {
		if _, ok := found.files[rel]; !ok {
			changed++
			delete(c.files, rel)
			if err := os.Remove(filepath.Join(c.to, rel)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, sentence.Errorf("the folder %s cannot be written: %w", c.to, disk.Reason(err))
			}
		}
	}
	for _, rel := range slices.Sorted(maps.Keys(found.files)) {
		f := found.files[rel]
		if c.files[rel] == f {
			continue
		}
		changed++
		err := copyVerified(ctx, filepath.Join(c.from, rel), filepath.Join(c.to, rel), &f)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has just gone; the next pass drops it
		}
		if err != nil {
			return 0, err
		}
		c.files[rel] = f
		c.done += f.size
		if c.progress != nil {
			c.progress(min(c.done, found.total), found.total, rel)
		}
	}
	return changed, nil
}

// removeReadOnly removes a folder that may hold folders which cannot be written.
func removeReadOnly(dir string) error {
	if root, err := os.OpenRoot(dir); err == nil {
		_ = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				_ = root.Chmod(filepath.FromSlash(path), 0o700)
			}
			return nil
		})
		_ = root.Close()
	}
	return os.RemoveAll(dir)
}

// inside reports whether path is base or lies within it, symbolic links resolved.
func inside(base, path string) bool {
	if b, err := filepath.EvalSymlinks(base); err == nil {
		base = b
	}
	// The path may not exist yet: resolve the part that does.
	rest := ""
	for p := path; ; {
		if r, err := filepath.EvalSymlinks(p); err == nil {
			path = filepath.Join(r, rest)
			break
		}
		up := filepath.Dir(p)
		if up == p {
			break
		}
		rest = filepath.Join(filepath.Base(p), rest)
		p = up
	}
	rel, err := filepath.Rel(base, path)
	return err == nil && filepath.IsLocal(rel)
}

// left behind by a move: locks, the index and what can be made again.
func (w *Workspace) derived(rel string) bool {
	return rel == filepath.Base(w.Cache()) || slices.Contains(leftBehind, rel)
}

var leftBehind = []string{lockName, placeName, holderName, callName, "queue.lock", "library.db", "library.db-wal", "library.db-shm", "library.db-journal"}

// inventory is what is to be moved.
type inventory struct {
	files map[string]moved
	dirs  map[string]fs.FileMode // "." included
	total int64
}

// deepestFirst lists the folders such that each comes before those that hold it.
func (i inventory) deepestFirst() []string {
	dirs := slices.Sorted(maps.Keys(i.dirs))
	slices.SortStableFunc(dirs, func(a, b string) int { return depth(b) - depth(a) })
	return dirs
}

func depth(rel string) int {
	if rel == "." {
		return -1
	}
	return strings.Count(rel, string(filepath.Separator))
}

func (w *Workspace) inventory(ctx context.Context) (inventory, error) {
	found := inventory{files: make(map[string]moved), dirs: make(map[string]fs.FileMode)}
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != w.dir {
			return nil // it has just gone
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(w.dir, path)
		if err != nil {
			return err
		}
		if w.derived(rel) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			found.dirs[rel] = info.Mode().Perm()
		case d.Type().IsRegular():
			found.files[rel] = moved{size: info.Size(), mod: info.ModTime().UnixNano(), mode: info.Mode().Perm()}
			found.total += info.Size()
		default:
			return sentence.Errorf("the workspace holds %s, which is neither a file nor a folder: remove it first", path)
		}
		return nil
	})
	if err != nil {
		return found, sentence.Errorf("the workspace %s cannot be read: %w", w.dir, err)
	}
	return found, nil
}

func copyVerified(ctx context.Context, src, dst string, m *moved) error {
	in, err := durable.Open(src)
	if err != nil {
		return sentence.Errorf("the file %s cannot be read: %w", src, disk.Reason(err))
	}
	defer func() { _ = in.Close() }()
	before, err := in.Stat() // what changes while it is copied is copied again
	if err != nil {
		return sentence.Errorf("the file %s cannot be read: %w", src, disk.Reason(err))
	}
	sum := sha256.New()
	err = durable.WriteFile(dst, func(w io.Writer) error {
		_, err := io.Copy(io.MultiWriter(w, sum), reader{ctx, in})
		return err
	})
	if err != nil {
		return sentence.Errorf("the file %s cannot be copied: %w", src, err)
	}
	*m = moved{size: before.Size(), mod: before.ModTime().UnixNano(), mode: before.Mode().Perm()}
	check := sha256.New()
	out, err := os.Open(dst)
	if err != nil {
		return sentence.Errorf("the copy %s cannot be read: %w", dst, disk.Reason(err))
	}
	defer func() { _ = out.Close() }()
	if _, err := io.Copy(check, reader{ctx, out}); err != nil {
		return sentence.Errorf("the copy %s cannot be read: %w", dst, err)
	}
	if !bytes.Equal(sum.Sum(nil), check.Sum(nil)) {
		return sentence.Errorf("the copy %s differs from its original: check that disk; nothing was removed", dst)
	}
	// Stamps of the index and of thumbnails stay right.
	if err := errors.Join(os.Chtimes(dst, before.ModTime(), before.ModTime()), os.Chmod(dst, m.mode)); err != nil {
		return sentence.Errorf("the copy %s cannot be written: %w", dst, disk.Reason(err))
	}
	return nil
}

func (w *Workspace) removeCopied(files map[string]moved, found inventory) error {
	var errs []error
	for rel, f := range files {
		path := filepath.Join(w.dir, rel)
		info, err := os.Lstat(path)
		if err != nil || info.Size() != f.size || info.ModTime().UnixNano() != f.mod {
			continue
		}
		if err := os.Remove(path); err != nil {
			errs = append(errs, disk.Reason(err))
		}
	}
	for _, name := range leftBehind {
		if err := os.Remove(filepath.Join(w.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, disk.Reason(err))
		}
	}
	if err := os.RemoveAll(w.Cache()); err != nil {
		errs = append(errs, disk.Reason(err))
	}
	for _, d := range found.deepestFirst() { // one that holds something stays
		_ = os.Remove(filepath.Join(w.dir, d))
	}
	if len(errs) == 0 {
		if left, err := w.inventory(context.Background()); err == nil && len(left.files) > 0 {
			errs = append(errs, sentence.Errorf("%d files came or changed while the workspace was moved and are still in %s", len(left.files), w.dir))
		}
	}
	return errors.Join(errs...)
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Measure adds up the sizes of every file in the workspace.
func (w *Workspace) Measure(ctx context.Context) (int64, error) { return FolderSize(ctx, w.dir) }

// FolderSize adds up the sizes of the files under dir. What vanishes meanwhile counts nothing.
func FolderSize(ctx context.Context, dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if info, err := d.Info(); err == nil && d.Type().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	if err != nil {
		return 0, sentence.Errorf("the folder %s cannot be measured: %w", dir, err)
	}
	return total, nil
}
