package check

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"unnoise/app/datasets"
	"unnoise/app/library"
	"unnoise/app/queue"
	"unnoise/app/trash"
	"unnoise/app/workspace"
	"unnoise/runtime/sentence"
)

// Workspace looks at everything in the workspace in dir.
func Workspace(ctx context.Context, dir string, o Options) (*Report, error) {
	w, err := workspace.At(dir)
	if err != nil {
		return nil, err
	}
	c := &checker{o: o, rep: &Report{Path: w.Dir()}}
	if c.total, err = size(ctx, w.Datasets(), w.Runs(), w.Galleries(), w.Models()); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		dir  string
		look func(ctx context.Context, dir string) error
	}{
		{w.Datasets(), c.dataset}, {w.Runs(), c.workspaceRun}, {w.Galleries(), c.gallery}, {w.Models(), c.model},
	} {
		things, err := workspace.Subfolders(part.dir)
		if err != nil {
			c.found(part.dir, Unread, err, again(err))
		}
		c.debris(part.dir, false) // others may be at work: what is old goes when the workspace is opened
		for _, id := range things {
			if err := part.look(ctx, filepath.Join(part.dir, id)); err != nil {
				return nil, err
			}
		}
	}
	c.debris(w.Dir(), false)
	if err := c.marker(w); err != nil {
		return nil, err
	}
	c.queue(w)
	c.trash(w)
	if err := c.index(ctx, w); err != nil {
		return nil, err
	}
	c.finished()
	return c.rep, nil
}

func (c *checker) dataset(ctx context.Context, dir string) error {
	c.rep.Datasets++
	c.judge(dir, c.o.Dataset(dir), sentence.T("Import its pictures again: they are where they were. Which of them were excluded is lost."))
	caches, err := datasets.Caches(dir)
	if err != nil {
		c.found(dir, Unread, err, again(err))
		return nil
	}
	for _, k := range caches {
		if err := c.cache(ctx, k.Dir); err != nil {
			return err
		}
	}
	c.debris(dir, false)
	return nil
}

// marker looks at the file that makes the folder a workspace; a workspace of a newer program is refused as a whole.
func (c *checker) marker(w *workspace.Workspace) error {
	err := w.Marker()
	if _, newer := errors.AsType[*workspace.NewerError](err); newer || err == nil {
		return err
	}
	path := w.MarkerPath()
	if unread(err) {
		c.found(path, Unread, err, again(err))
		return nil
	}
	c.mended(path, err, sentence.T("It says nothing but the version, and is made anew whenever the workspace is opened."), func() error {
		again, err := workspace.Attach(w.Dir())
		if err != nil {
			return err
		}
		return again.Close()
	})
	return nil
}

// judge notes what reading a thing gave.
func (c *checker) judge(path string, err error, do sentence.Text) {
	switch {
	case err == nil:
	case unread(err):
		c.found(path, Unread, err, again(err))
	default:
		c.found(path, Lost, err, do)
	}
}

// workspaceRun passes folders over that were never a run.
func (c *checker) workspaceRun(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		c.found(dir, Unread, err, again(err))
		return nil
	}
	if len(entries) == 0 {
		return nil
	}
	return c.run(ctx, dir)
}

func (c *checker) gallery(ctx context.Context, dir string) error {
	c.judge(dir, c.o.Gallery(dir), sentence.T("Its name and its stars are lost, its pictures are not."))
	c.debris(dir, false)
	return c.pictures(ctx, dir, sentence.T("It can be drawn again: its name tells seed and number."))
}

func (c *checker) model(ctx context.Context, dir string) error {
	c.rep.Models++
	err := c.o.Model(ctx, dir)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if n, err := size(ctx, dir); err == nil {
		c.read(n, dir)
	}
	c.judge(dir, err, sentence.T("Import the model again."))
	return nil
}

func (c *checker) queue(w *workspace.Workspace) {
	_, err := queue.New(w.Queue()).Load()
	c.judge(w.Queue(), err, sentence.T("What waited there is lost; what was trained is not."))
}

// trash looks whether all that was deleted can still be brought back.
func (c *checker) trash(w *workspace.Workspace) {
	bin := trash.New(w.Dir(), w.Trash())
	ids, err := workspace.Subfolders(w.Trash())
	if err != nil {
		c.found(w.Trash(), Unread, err, again(err))
		return
	}
	for _, id := range ids {
		home := filepath.Join(w.Trash(), id)
		e, err := bin.Get(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a deletion that was cut short before anything moved; the next start removes it
		}
		c.rep.Deleted++
		if err != nil {
			c.judge(home, err, sentence.T("What was deleted is still in this folder, but not where it came from."))
			continue
		}
		for i, file := range bin.Files(e) {
			if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			rel := filepath.FromSlash(e.Paths[i])
			if _, err := os.Lstat(filepath.Join(w.Dir(), rel)); errors.Is(err, fs.ErrNotExist) {
				c.found(file, Lost, sentence.Errorf("%s is neither in the trash nor where it was", rel), sentence.T("Bring it back from a backup."))
			}
		}
	}
}

func (c *checker) index(ctx context.Context, w *workspace.Workspace) error {
	err := c.o.Index(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil || errors.Is(err, fs.ErrNotExist): // it is made when the workspace is opened
		return nil
	case errors.Is(err, library.ErrForeign):
		c.found(w.Library(), Unread, err, sentence.T("Move it away, and an index is made from the folders."))
		return nil
	}
	c.mended(w.Library(), err, sentence.T("It is made anew from the folders; nothing is lost by that."), func() error { return c.o.Reindex(ctx) })
	return ctx.Err()
}

// Summary is one sentence on the whole.
func (r *Report) Summary() sentence.Text {
	if r.Whole() {
		return sentence.T("Everything is whole.")
	}
	return sentence.T("Lost: {{.Lost}}. Can be repaired: {{.Mendable}}. Could not be read: {{.Unread}}.",
		"Lost", r.Count(Lost), "Mendable", r.Count(Mendable), "Unread", r.Count(Unread))
}
