// Package trash moves things out of the way and back. A thing in the trash is a folder
// .trash/<id> with the files under "files" and a manifest.json that says where each came
// from. The manifest is written before anything moves, so a crash at any point leaves
// every file either at home or in the trash, and Restore brings all of them back.
package trash

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"unnoise/app/disk"
	"unnoise/app/workspace"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

const (
	version      = 1
	manifestName = "manifest.json"
	filesName    = "files"
	maxManifest  = 64 << 20
)

// Entry is one deletion.
type Entry struct {
	ID      string    `json:"-"`
	Version int       `json:"version"`
	Kind    string    `json:"kind"`
	Name    string    `json:"name"` // for people
	Deleted time.Time `json:"deleted"`
	Paths   []string  `json:"paths"` // within the workspace, with slashes; files/<n> is the n-th
}

// Bin is the trash of one workspace.
type Bin struct {
	root string // the workspace
	dir  string
}

// New is the trash in dir of the workspace root.
func New(root, dir string) *Bin { return &Bin{root: root, dir: dir} }

// Put moves paths, given within the workspace, to the trash as one deletion.
func (b *Bin) Put(kind, name string, paths ...string) (e Entry, err error) {
	if len(paths) == 0 {
		return Entry{}, sentence.Errorf("there is nothing to delete")
	}
	var r [4]byte
	if _, err := rand.Read(r[:]); err != nil {
		return Entry{}, err
	}
	now := time.Now()
	e = Entry{
		ID: now.UTC().Format("20060102-150405.000-") + hex.EncodeToString(r[:]), Version: version,
		Kind: kind, Name: name, Deleted: now.Truncate(time.Millisecond),
	}
	for _, p := range paths {
		rel, err := filepath.Rel(b.root, p)
		if err != nil || !filepath.IsLocal(rel) || rel == "." {
			return Entry{}, sentence.Errorf("%s is not in the workspace %s", p, b.root)
		}
		if _, err := os.Lstat(p); err != nil {
			return Entry{}, sentence.Errorf("%s cannot be deleted: %w", p, disk.Reason(err))
		}
		e.Paths = append(e.Paths, filepath.ToSlash(rel))
	}
	home := filepath.Join(b.dir, e.ID)
	if err := durable.MkdirAll(filepath.Join(home, filesName)); err != nil {
		return Entry{}, sentence.Errorf("the trash cannot be written: %w", disk.Reason(err))
	}
	if err := disk.WriteJSON(filepath.Join(home, manifestName), e); err != nil {
		return Entry{}, errors.Join(sentence.Errorf("the trash cannot be written: %w", err), os.RemoveAll(home))
	}
	for i, p := range paths {
		if err := os.Rename(p, b.file(e.ID, i)); err != nil {
			// Bring back what has moved already.
			return Entry{}, errors.Join(sentence.Errorf("%s cannot be deleted: %w", p, disk.Reason(err)), b.Restore(e.ID))
		}
	}
	if err := durable.SyncDir(filepath.Join(home, filesName)); err != nil {
		return e, err
	}
	for _, d := range parents(paths) {
		if err := durable.SyncDir(d); err != nil {
			return e, err
		}
	}
	return e, nil
}

func (b *Bin) file(id string, i int) string {
	return filepath.Join(b.dir, id, filesName, fmt.Sprint(i))
}

// Files is where the entry's files and folders are now; those that are back home are not there.
func (b *Bin) Files(e Entry) []string {
	out := make([]string, len(e.Paths))
	for i := range out {
		out[i] = b.file(e.ID, i)
	}
	return out
}

func parents(paths []string) []string {
	var dirs []string
	for _, p := range paths {
		dirs = append(dirs, filepath.Dir(p))
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// Get reads one entry.
func (b *Bin) Get(id string) (Entry, error) {
	home, err := workspace.Child(b.dir, id)
	if err != nil {
		return Entry{}, err
	}
	var e Entry
	if err := disk.ReadJSON(filepath.Join(home, manifestName), maxManifest, &e); err != nil {
		return Entry{}, err
	}
	if e.Version > version {
		return Entry{}, sentence.Errorf("the deleted %q was put away by a newer Unnoise (format %d): use that one", e.Name, e.Version)
	}
	for _, p := range e.Paths {
		if !filepath.IsLocal(filepath.FromSlash(p)) || p == "." {
			return Entry{}, sentence.Errorf("the trash's %s is damaged: it names the path %q", filepath.Join(home, manifestName), p)
		}
	}
	e.ID = id
	return e, nil
}

// List is every readable entry, newest first.
func (b *Bin) List() ([]Entry, error) {
	dirs, err := workspace.Subfolders(b.dir)
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, d := range dirs {
		if e, err := b.Get(d); err == nil {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(x, y Entry) int { return y.Deleted.Compare(x.Deleted) })
	return out, nil
}

// Restore moves an entry's files back to where they were. If another thing has taken a
// place, nothing more moves and the error says which; what is back is back, and a later
// Restore goes on.
func (b *Bin) Restore(id string) error {
	e, err := b.Get(id)
	if err != nil {
		return err
	}
	// Look first, so that a conflict moves nothing.
	for i, rel := range e.Paths {
		dst := filepath.Join(b.root, filepath.FromSlash(rel))
		if _, err := os.Lstat(b.file(id, i)); errors.Is(err, fs.ErrNotExist) {
			continue // at home already
		} else if err != nil {
			return sentence.Errorf("%q cannot be brought back: %w", e.Name, disk.Reason(err))
		}
		if _, err := os.Lstat(dst); err == nil {
			return sentence.Errorf("%q cannot be brought back: %s exists again; rename or delete that first", e.Name, dst)
		}
	}
	var dsts []string
	for i, rel := range e.Paths {
		src, dst := b.file(id, i), filepath.Join(b.root, filepath.FromSlash(rel))
		if _, err := os.Lstat(src); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := durable.MkdirAll(filepath.Dir(dst)); err != nil {
			return sentence.Errorf("%q cannot be brought back: %w", e.Name, disk.Reason(err))
		}
		if err := durable.RenameNew(src, dst); err != nil {
			return sentence.Errorf("%q cannot be brought back: %w", e.Name, disk.Reason(err))
		}
		dsts = append(dsts, dst)
	}
	for _, d := range parents(dsts) {
		if err := durable.SyncDir(d); err != nil {
			return err
		}
	}
	return durable.RemoveAll(filepath.Join(b.dir, id))
}

// Size is the bytes an entry holds.
func (b *Bin) Size(ctx context.Context, id string) (int64, error) {
	home, err := workspace.Child(b.dir, id)
	if err != nil {
		return 0, err
	}
	return workspace.FolderSize(ctx, home)
}

// Purge removes for good the entries deleted before the given time, and returns how many
// bytes that freed.
func (b *Bin) Purge(ctx context.Context, before time.Time, progress func(done, total int, name string)) (int64, error) {
	all, err := b.List()
	if err != nil {
		return 0, err
	}
	all = slices.DeleteFunc(all, func(e Entry) bool { return !e.Deleted.Before(before) })
	var freed int64
	for i, e := range all {
		if err := ctx.Err(); err != nil {
			return freed, err
		}
		n, err := b.Size(ctx, e.ID)
		if err != nil {
			return freed, err
		}
		if err := durable.RemoveAll(filepath.Join(b.dir, e.ID)); err != nil {
			return freed, sentence.Errorf("%q cannot be removed from the trash: %w", e.Name, err)
		}
		freed += n
		if progress != nil {
			progress(i+1, len(all), e.Name)
		}
	}
	return freed, nil
}

// Recover finishes what a crash cut short: entries that never got a manifest are empty and
// go. Moves that were begun stay as they are, for Restore to bring back.
func (b *Bin) Recover() error {
	if err := durable.Sweep(b.dir); err != nil {
		return err
	}
	dirs, err := workspace.Subfolders(b.dir)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		home := filepath.Join(b.dir, d)
		if _, err := os.Lstat(filepath.Join(home, manifestName)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if left, err := os.ReadDir(filepath.Join(home, filesName)); err == nil && len(left) > 0 {
			continue // never remove files that are not understood
		}
		if err := durable.RemoveAll(home); err != nil {
			return err
		}
	}
	return nil
}
