package studio

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"unnoise/app/datasets"
	"unnoise/app/library"
	"unnoise/app/runs"
	"unnoise/app/workspace"
	"unnoise/pipeline/data"
	"unnoise/runtime/sentence"
)

// Decoded pictures can be decoded again at any time, but large datasets take minutes. So those of the datasets as they
// are now are kept, and those that an unfinished run of the last month needs, as long as all of them have at most
// cacheBudget bytes; the ones unused the longest go first. Those of a dataset that has changed, or was deleted over an
// hour ago (before, its deletion may yet be undone), go at once. What a waiting run will use, or any process uses now,
// always stays. This is looked at when the workspace is opened and after each training.
const (
	cacheBudget   = 10 << 30
	unfinishedFor = 30 * 24 * time.Hour
	deletedFor    = time.Hour
)

// content names the choice of images, as of the last scan, in the name of a folder of decoded ones.
func (d datasetFile) content() string {
	h := sha256.New()
	fmt.Fprintln(h, d.Scanned.Unix())
	for _, n := range d.Excluded {
		fmt.Fprintf(h, "%q\n", n)
	}
	return hex.EncodeToString(h.Sum(nil)[:4])
}

// cacheName is the folder, within the dataset's, where images decoded in one way are kept. Runs that agree on the way
// and on the choice of images share it. (What transparent images lie on depends on the scan alone.)
func (d datasetFile) cacheName(p Preprocess) string {
	if p.Fit == "" {
		p.Fit = data.Crop
	}
	if p.Resize == data.Nearest {
		p.Fit += "-" + p.Resize
	}
	return fmt.Sprintf("%s%dx%dx%d-%s-%s", datasets.CachePrefix, p.Width, p.Height, p.Channels, p.Fit, d.content())
}

// tidyCaches drops the decoded pictures that are not worth their room, until all have at most budget bytes.
func (c *core) tidyCaches(ctx context.Context, budget int64) error {
	if c.attached { // it is for the one who holds the lock
		return nil
	}
	e, done, err := c.change()
	if err != nil {
		return err
	}
	defer done()
	ids, err := workspace.Subfolders(e.ws.Datasets())
	if err != nil {
		return err
	}
	var all []datasets.Cache
	claims := make(map[string]datasets.Claim)
	for _, id := range ids {
		dir := filepath.Join(e.ws.Datasets(), id)
		found, err := datasets.Caches(dir)
		if err != nil || len(found) == 0 {
			continue
		}
		all = append(all, found...)
		info, err := readDataset(dir)
		if err != nil {
			for _, f := range found { // it cannot be told what they are
				claims[f.Dir] = datasets.Useful
			}
			continue
		}
		for _, f := range found {
			if strings.HasSuffix(f.Dir, "-"+info.content()) {
				claims[f.Dir] = datasets.Useful
			}
		}
	}
	if len(all) > 0 {
		if err := c.claimCaches(ctx, e, claims); err != nil {
			return err
		}
	}
	deleted, err := e.bin.List()
	if err != nil {
		return err
	}
	for _, t := range deleted {
		if t.Kind == "dataset" && time.Since(t.Deleted) > deletedFor {
			for _, dir := range e.bin.Files(t) {
				if found, err := datasets.Caches(dir); err == nil {
					all = append(all, found...)
				}
			}
		}
	}
	var errs []error
	for _, f := range datasets.Spare(all, func(f datasets.Cache) datasets.Claim { return claims[f.Dir] }, budget) {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := datasets.Drop(f.Dir)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// claimCaches adds what the queue and unfinished runs need.
func (c *core) claimCaches(ctx context.Context, e *env, claims map[string]datasets.Claim) error {
	ofRun := func(id string, claim datasets.Claim) {
		if run, err := e.openRun(id); err == nil {
			dir := run.CacheDir()
			claims[dir] = max(claims[dir], claim)
		}
	}
	rows, err := e.lib.Runs(ctx, library.RunQuery{})
	if err != nil {
		return sentence.Errorf("the index cannot be read: %w", err)
	}
	for _, r := range rows {
		if r.State != string(runs.Done) && time.Since(r.Updated) < unfinishedFor {
			ofRun(r.ID, datasets.Useful)
		}
	}
	list, err := e.queue.Load()
	if err != nil {
		return err
	}
	for _, q := range list.Entries {
		if q.Run != "" {
			ofRun(q.Run, datasets.Wanted)
		}
		var req TrainRequest
		if len(q.Request) == 0 || json.Unmarshal(q.Request, &req) != nil {
			continue
		}
		dir, err := workspace.Child(e.ws.Datasets(), req.Dataset)
		if err != nil {
			continue
		}
		if info, err := readDataset(dir); err == nil {
			claims[filepath.Join(dir, info.cacheName(req.Preprocess))] = datasets.Wanted
		}
	}
	return nil
}

// tidied is tidyCaches for those who have nothing to say about it.
func (c *core) tidied(ctx context.Context) {
	if err := c.tidyCaches(ctx, cacheBudget); err != nil && ctx.Err() == nil && !errors.Is(err, os.ErrNotExist) {
		c.log.Warn("decoded pictures could not be tidied", "error", err)
	}
}
