package workspace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"unnoise/app/disk"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// moved is a file that was copied and compared.
type moved struct {
	rel  string
	size int64
	mod  int64
}

// CopyTo copies the workspace into dir, which must be empty or missing and not within the
// workspace, and compares every copy with its original. The index and the caches, which are
// made again, stay behind. The copy appears under its name only when it is complete. It returns a
// function that removes the originals, to be called once the new place is in use; a file
// that has changed since it was copied is kept.
func (w *Workspace) CopyTo(ctx context.Context, dir string, progress func(done, total int64, item string)) (removeOld func() error, err error) {
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

	files, dirs, total, err := w.inventory(ctx)
	if err != nil {
		return nil, err
	}
	parent := filepath.Dir(dst)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return nil, sentence.Errorf("the folder %s cannot be made: %w", parent, disk.Reason(err))
	}
	if err := disk.Require(disk.Free, parent, total+total/50+1<<20, sentence.T("the workspace")); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(parent, durable.TempPrefix+"workspace-")
	if err != nil {
		return nil, sentence.Errorf("the folder %s cannot be written: %w", parent, disk.Reason(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return nil, sentence.Errorf("the folder %s cannot be written: %w", tmp, disk.Reason(err))
	}
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(tmp, d), 0o777); err != nil {
			return nil, sentence.Errorf("the folder %s cannot be made: %w", filepath.Join(tmp, d), disk.Reason(err))
		}
	}
	var done int64
	for i := range files {
		if err := copyVerified(ctx, filepath.Join(w.dir, files[i].rel), filepath.Join(tmp, files[i].rel), &files[i]); err != nil {
			return nil, err
		}
		done += files[i].size
		if progress != nil {
			progress(done, total, files[i].rel)
		}
	}
	for _, d := range append(slices.Clone(dirs), ".") {
		if err := durable.SyncDir(filepath.Join(tmp, d)); err != nil {
			return nil, err
		}
	}
	if exists {
		if err := os.Remove(dst); err != nil {
			return nil, sentence.Errorf("the folder %s cannot be replaced: %w; choose a new folder within it", dst, disk.Reason(err))
		}
	}
	if err := os.Rename(tmp, dst); err != nil {
		return nil, sentence.Errorf("the folder %s cannot be made: %w", dst, disk.Reason(err))
	}
	if err := durable.SyncDir(parent); err != nil {
		return nil, err
	}
	return func() error { return w.removeCopied(files, dirs) }, nil
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
	switch rel {
	case lockName, holderName, "queue.lock", "library.db", "library.db-wal", "library.db-shm", filepath.Base(w.Cache()):
		return true
	}
	return false
}

func (w *Workspace) inventory(ctx context.Context) (files []moved, dirs []string, total int64, err error) {
	err = filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
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
		switch {
		case d.IsDir():
			if rel != "." {
				dirs = append(dirs, rel)
			}
		case d.Type().IsRegular():
			info, err := d.Info()
			if err != nil {
				return err
			}
			files = append(files, moved{rel: rel, size: info.Size(), mod: info.ModTime().UnixNano()})
			total += info.Size()
		default:
			return sentence.Errorf("the workspace holds %s, which is neither a file nor a folder: remove it first", path)
		}
		return nil
	})
	if err != nil {
		return nil, nil, 0, sentence.Errorf("the workspace %s cannot be read: %w", w.dir, err)
	}
	return files, dirs, total, nil
}

func copyVerified(ctx context.Context, src, dst string, m *moved) error {
	in, err := os.Open(src)
	if err != nil {
		return sentence.Errorf("the file %s cannot be read: %w", src, disk.Reason(err))
	}
	defer func() { _ = in.Close() }()
	sum := sha256.New()
	err = durable.WriteFile(dst, func(w io.Writer) error {
		n, err := io.Copy(io.MultiWriter(w, sum), reader{ctx, in})
		m.size = n
		return err
	})
	if err != nil {
		return sentence.Errorf("the file %s cannot be copied: %w", src, err)
	}
	info, err := in.Stat()
	if err != nil {
		return sentence.Errorf("the file %s cannot be read: %w", src, disk.Reason(err))
	}
	m.mod = info.ModTime().UnixNano()
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
	return os.Chtimes(dst, info.ModTime(), info.ModTime()) // stamps of the index and of thumbnails stay right
}

func (w *Workspace) removeCopied(files []moved, dirs []string) error {
	var errs []error
	kept := 0
	for _, f := range files {
		path := filepath.Join(w.dir, f.rel)
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || info.Size() != f.size || info.ModTime().UnixNano() != f.mod {
			kept++
			continue
		}
		if err := os.Remove(path); err != nil {
			errs = append(errs, disk.Reason(err))
		}
	}
	for _, name := range []string{holderName, "queue.lock", "library.db", "library.db-wal", "library.db-shm", lockName} {
		if err := os.Remove(filepath.Join(w.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, disk.Reason(err))
		}
	}
	if err := os.RemoveAll(w.Cache()); err != nil {
		errs = append(errs, disk.Reason(err))
	}
	for _, d := range slices.Backward(dirs) { // children first; one that holds something stays
		_ = os.Remove(filepath.Join(w.dir, d))
	}
	_ = os.Remove(w.dir)
	if kept > 0 {
		errs = append(errs, sentence.Errorf("%d files changed while the workspace was copied and were kept in %s", kept, w.dir))
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
