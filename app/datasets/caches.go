package datasets

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// CachePrefix begins the names of the folders of decoded pictures within a dataset's folder.
const CachePrefix = "cache-"

// holdName is a file in a folder of decoded pictures that whoever uses them has locked, shared. Its modification time
// is when they were used last.
const holdName = "used.lock"

// Hold keeps the decoded pictures in dir, which are there or are about to be, from being dropped by any process until
// release is called.
func Hold(ctx context.Context, dir string) (release func(), err error) {
	path := filepath.Join(dir, holdName)
	lock := durable.Lock(path)
	for {
		if err := durable.MkdirAll(dir); err != nil {
			return nil, sentence.Errorf("the folder of the decoded pictures cannot be made: %w", err)
		}
		_, err := lock.TryRLockContext(ctx, 20*time.Millisecond)
		switch {
		case errors.Is(err, fs.ErrNotExist): // the folder was dropped in between
			continue
		case err != nil:
			return nil, sentence.Errorf("the decoded pictures in %s cannot be locked: %w", dir, err)
		}
		if same(lock, path) {
			break
		}
		_ = lock.Unlock() // of a file that was dropped while this waited for it
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now)
	return func() { _ = lock.Unlock() }, nil
}

// same reports whether a locked file is still the one at path.
func same(lock *flock.Flock, path string) bool {
	a, errA := lock.Stat()
	b, errB := os.Stat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// Drop removes the decoded pictures in dir, unless some process uses them. They are decoded again when they are needed.
func Drop(dir string) (dropped bool, err error) {
	path := filepath.Join(dir, holdName)
	lock := durable.Lock(path)
	ok, err := lock.TryLock()
	if err != nil || !ok {
		return false, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, errors.Join(err, lock.Unlock())
	}
	var errs []error
	for _, e := range entries {
		if e.Name() != holdName {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return false, errors.Join(err, lock.Unlock())
	}
	err = os.Remove(path) // while it is locked, where the system allows that: who waits for it looks again
	if uerr := lock.Unlock(); uerr != nil {
		return false, uerr
	}
	if err != nil {
		err = os.Remove(path)
	}
	return true, errors.Join(err, os.Remove(dir))
}

// Cache is a folder of decoded pictures.
type Cache struct {
	Dir   string
	Bytes int64
	Used  time.Time // when they were used last
}

// Caches lists the decoded pictures within a dataset's folder.
func Caches(dir string) ([]Cache, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []Cache
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), CachePrefix) {
			continue
		}
		c := Cache{Dir: filepath.Join(dir, e.Name())}
		files, err := os.ReadDir(c.Dir)
		if err != nil {
			continue // just dropped
		}
		for _, f := range files {
			if st, err := f.Info(); err == nil {
				c.Bytes += st.Size()
				if st.ModTime().After(c.Used) {
					c.Used = st.ModTime()
				}
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// Claim says who has a use for decoded pictures.
type Claim int

// The claims.
const (
	Unclaimed Claim = iota // of a dataset that has changed or was deleted, and no unfinished run needs them
	Useful                 // a run may use them
	Wanted                 // a run that waits in the queue will use them
)

// Spare is the caches that may go: those that are unclaimed, and of the useful ones those unused the longest, until all
// that stay have at most budget bytes.
func Spare(all []Cache, claim func(Cache) Claim, budget int64) []Cache {
	var out, useful []Cache
	var total int64
	for _, c := range all {
		switch claim(c) {
		case Unclaimed:
			out = append(out, c)
			continue
		case Useful:
			useful = append(useful, c)
		}
		total += c.Bytes
	}
	slices.SortFunc(useful, func(a, b Cache) int { return a.Used.Compare(b.Used) })
	for _, c := range useful {
		if total <= budget {
			break
		}
		total -= c.Bytes
		out = append(out, c)
	}
	return out
}
