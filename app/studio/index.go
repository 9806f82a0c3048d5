package studio

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"unnoise/app/events"
	"unnoise/app/library"
	"unnoise/app/workspace"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// sampleDir is the folder of a run's sample grids.
const sampleDir = "samples"

// indexer is what the index remembers between two looks at the folders.
type indexer struct {
	mu   sync.Mutex // one look at a time
	bad  map[string]string
	last map[string]map[string]string // stamps by ID that the index had after the last look, by folder
	seen map[string]time.Time         // modification time of each folder of things when it was last looked through
}

// watch looks for what changed, first all of it and then, every two seconds, where something may have.
func (c *core) watch() {
	if err := c.sync(c.ctx, nil); err != nil && c.ctx.Err() == nil {
		c.bus.Publish(Notice{Severity: events.Warning, Text: events.T("The workspace could not be read completely: {{.Problem}}", "Problem", err)})
	}
	_ = c.thumbs.Prune(c.ctx)
	c.tidied(c.ctx)
	t := time.NewTicker(refreshEvery)
	defer t.Stop()
	gone := false
	for n := 1; ; n++ {
		select {
		case <-c.ctx.Done():
			return
		case <-t.C:
		}
		if c.moving.Load() {
			continue
		}
		if err := c.there(); err != nil {
			if !gone {
				c.bus.Publish(Notice{Severity: events.Failure, Text: events.T("{{.Problem}}", "Problem", err)})
			}
			gone = true
			continue
		}
		if gone {
			gone, n = false, 0 // look through all of it
			c.bus.Publish(Notice{Severity: events.Info, Text: events.T("The workspace is back.")})
		}
		c.sup.reload("")
		e, err := c.use()
		if err != nil {
			return
		}
		// Every file of ten thousand runs is a lot to ask for: mostly only the lists of the
		// folders and the runs that some process trains are looked at.
		if err := c.look(c.ctx, e, n%30 == 0, nil); err != nil && c.ctx.Err() == nil {
			c.log.Warn("the workspace could not be looked through", "error", err)
		}
	}
}

// debris is how old what was measured and tried is when nobody can still be at it.
const debris = 24 * time.Hour

// sweep removes what processes that died left behind. Others may be writing right now: what they hold stays.
func sweep(e *env) error {
	return e.below(func(d durable.Disk) error {
		var errs []error
		dirs := []string{".", "datasets", "models", "runs", "galleries", ".trash", ".cache"}
		// A dataset's decoded pictures are written within it, and it is not looked at again for that.
		folders := func(dir string) (found []string) {
			entries, _ := d.ReadDir(dir)
			for _, e := range entries {
				if e.IsDir() && !durable.IsTemp(e.Name()) {
					found = append(found, filepath.Join(dir, e.Name()))
				}
			}
			return found
		}
		for _, dataset := range folders("datasets") {
			dirs = append(append(dirs, dataset), folders(dataset)...)
		}
		for _, dir := range dirs {
			if err := d.Tidy(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		trials := filepath.Join(".cache", "trials")
		entries, _ := d.ReadDir(trials) // not made yet, as a rule
		for _, t := range entries {
			if info, err := t.Info(); err == nil && time.Since(info.ModTime()) > debris {
				errs = append(errs, d.Root.RemoveAll(filepath.Join(trials, t.Name())))
			}
		}
		return errors.Join(errs...)
	})
}

// tidyThing removes what processes that died left in a thing that has changed. What cannot be tidied is left.
func (e *env) tidyThing(k kind, id string) {
	rel, ok := e.within(filepath.Join(k.dir, id))
	if !ok || e.ws.ReadOnly() {
		return
	}
	_ = e.below(func(d durable.Disk) error {
		for _, dir := range append([]string{"."}, k.within...) {
			_ = d.Tidy(filepath.Join(rel, dir))
		}
		return nil
	})
}

// sync brings the index up to date with all folders; e may be nil.
func (c *core) sync(ctx context.Context, e *env) error {
	if e == nil {
		var err error
		if e, err = c.use(); err != nil {
			return err
		}
	}
	return c.look(ctx, e, true, nil)
}

func (c *core) syncEnv(ctx context.Context, e *env, m *meter) error { return c.look(ctx, e, true, m) }

func (c *core) rebuild(ctx context.Context, progress ProgressFunc) error {
	e, done, err := c.begin()
	if err != nil {
		return err
	}
	defer done()
	if err := e.lib.Clear(ctx); err != nil {
		return sentence.Errorf("the index cannot be emptied: %w", err)
	}
	return c.look(ctx, e, true, newMeter(progress, events.T("Making the index")))
}

// kind is a sort of thing that the index lists: a folder each.
type kind struct {
	dir     string
	indexed func(context.Context) (map[string]string, error) // stamp by ID
	stamp   func(dir string, active bool) (string, error)
	read    func(ctx context.Context, e *env, id, stamp string) error
	remove  func(ctx context.Context, ids ...string) error
	active  func(ctx context.Context) ([]string, error) // those that may change without notice
	changed func(id string) Event
	within  []string // folders within each in which files are written
}

func (c *core) kinds(e *env) []kind {
	return []kind{
		{
			dir:     e.ws.Datasets(),
			indexed: e.lib.DatasetStamps,
			stamp:   datasetStamp, read: c.indexDataset, remove: e.lib.DeleteDatasets,
			changed: func(id string) Event { return events.DatasetsChanged{Dataset: id} },
		},
		{
			dir:     e.ws.Runs(),
			indexed: e.lib.RunStamps, stamp: runStamp, read: c.indexRun, remove: e.lib.DeleteRuns,
			active: e.lib.ActiveRuns, within: []string{train.SampleDir, train.CheckpointDir},
			changed: func(id string) Event { return events.RunsChanged{Run: id} },
		},
		{
			dir:     e.ws.Galleries(),
			indexed: e.lib.GalleryStamps, stamp: galleryStamp, read: c.indexGallery, remove: e.lib.DeleteGalleries,
			active: func(ctx context.Context) ([]string, error) {
				return e.lib.GalleriesSince(ctx, time.Now().Add(-2*time.Minute)) // images may still be coming
			},
			changed: func(id string) Event { return events.GalleriesChanged{Gallery: id} },
		},
	}
}

// differing is the IDs whose stamps differ between two looks.
func differing(a, b map[string]string) map[string]bool {
	out := make(map[string]bool)
	for id, s := range a {
		if b[id] != s {
			out[id] = true
		}
	}
	for id := range b {
		if _, ok := a[id]; !ok {
			out[id] = true
		}
	}
	return out
}

// manyChanged is from when on one signal for all is better than one for each.
const manyChanged = 20

// look compares the folders with the index and reads what differs. With all, the files of every
// thing are looked at, else only the lists of names and the active things. What cannot be read is
// left out, and told once. An index that cannot be used any more is replaced.
func (c *core) look(ctx context.Context, e *env, all bool, m *meter) error {
	c.index.mu.Lock()
	defer c.index.mu.Unlock()
	err := e.lib.Trouble()
	if err == nil {
		err = c.compare(ctx, e, all, m)
	}
	for range 2 { // a new one on the disk, then one in memory
		if err == nil || ctx.Err() != nil || !library.Broken(err) {
			break
		}
		c.log.Warn("the index is made anew", "error", err)
		if err := e.lib.Renew(ctx, err); err != nil {
			return err
		}
		c.tellIndex(e)
		err = c.compare(ctx, e, true, m)
	}
	return err
}

// tellIndex tells what became of the index, if anything did.
func (c *core) tellIndex(e *env) {
	if text := e.lib.Notice(); text.Template != "" {
		c.bus.Publish(Notice{Severity: events.Warning, Text: text})
	}
}

func (c *core) compare(ctx context.Context, e *env, all bool, m *meter) error {
	if c.index.bad == nil {
		c.index.bad, c.index.seen, c.index.last = make(map[string]string), make(map[string]time.Time), make(map[string]map[string]string)
	}
	type task struct {
		k         kind
		id, stamp string
		now       map[string]string
	}
	written, err := e.lib.Changed(ctx) // perhaps by a subcommand, which brought the index up to date itself
	if err != nil {
		return sentence.Errorf("the index cannot be read: %w", err)
	}
	var tasks []task
	changed := make(map[int][]string)
	kinds := c.kinds(e)
	for ki, k := range kinds {
		active := make(map[string]bool)
		if k.active != nil {
			list, err := k.active(ctx)
			if err != nil {
				return sentence.Errorf("the index cannot be read: %w", err)
			}
			for _, id := range list {
				active[id] = true
			}
		}
		st, err := os.Stat(k.dir)
		if err != nil {
			return sentence.Errorf("the workspace is not there any more: %w", err)
		}
		if !all && !written && len(active) == 0 && st.ModTime().Equal(c.index.seen[k.dir]) {
			continue
		}
		c.index.seen[k.dir] = st.ModTime()
		ids, err := workspace.Subfolders(k.dir)
		if err != nil {
			return err
		}
		old, err := k.indexed(ctx)
		if err != nil {
			return sentence.Errorf("the index cannot be read: %w", err)
		}
		now := maps.Clone(old)
		if last := c.index.last[k.dir]; last != nil {
			for id := range differing(last, old) {
				changed[ki] = append(changed[ki], id)
			}
		}
		c.index.last[k.dir] = now
		for _, id := range ids {
			was, known := old[id]
			delete(old, id)
			if !all && known && !active[id] {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			stamp, err := k.stamp(filepath.Join(k.dir, id), active[id])
			if err != nil || (known && stamp == was) {
				continue // no such thing in this folder, or just going; or nothing new
			}
			if c.index.bad[k.dir+id] == stamp {
				continue
			}
			tasks = append(tasks, task{k, id, stamp, now})
			changed[ki] = append(changed[ki], id)
		}
		var gone []string
		for id := range old {
			path, err := workspace.Child(k.dir, id)
			if err == nil {
				_, err = os.Lstat(path)
			}
			if err != nil && (path == "" || errors.Is(err, fs.ErrNotExist)) { // or the index names what can be none
				gone = append(gone, id)
				delete(now, id)
			}
		}
		if err := k.remove(ctx, gone...); err != nil {
			return sentence.Errorf("the index cannot be written: %w", err)
		}
		changed[ki] = append(changed[ki], gone...)
	}
	var problems []error
	for i, t := range tasks {
		if err := ctx.Err(); err != nil {
			return err
		}
		e.tidyThing(t.k, t.id)
		if err := t.k.read(ctx, e, t.id, t.stamp); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if library.Broken(err) {
				return sentence.Errorf("the index cannot be written: %w", err)
			}
			c.index.bad[t.k.dir+t.id] = t.stamp
			problems = append(problems, err)
		} else {
			t.now[t.id] = t.stamp
		}
		if m != nil {
			m.at(int64(i+1), int64(len(tasks)), t.id)
		}
	}
	fresh := e.lib.Fresh()
	if fresh {
		if err := e.lib.Filled(ctx); err != nil {
			return sentence.Errorf("the index cannot be written: %w", err)
		}
		c.bus.Publish(events.LibraryRebuilt{})
	}
	for ki, k := range kinds {
		if n := len(changed[ki]); n > manyChanged || (fresh && n > 0) {
			c.bus.Publish(k.changed(""))
			continue
		}
		slices.Sort(changed[ki])
		for _, id := range slices.Compact(changed[ki]) {
			c.bus.Publish(k.changed(id))
		}
	}
	for i, err := range problems {
		if i == 5 {
			c.bus.Publish(Notice{Severity: events.Warning, Text: events.T("{{.Count}} more things in the workspace could not be read.", "Count", len(problems)-i)})
			break
		}
		c.bus.Publish(Notice{Severity: events.Warning, Text: events.T("Left out: {{.Problem}}", "Problem", err)})
	}
	return nil
}
