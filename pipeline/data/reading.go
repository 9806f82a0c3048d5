package data

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"unnoise/runtime/sentence"
)

// A picture that is damaged stays so and is set aside. A disk that fails, a drive that is pulled out and a system that
// runs out of something say nothing about the picture: such reads are tried again, and end in an error where a picture would be lost.

// pauses are how long is waited before a failed read is tried again.
var pauses = []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond}

// maxWaits bounds how often reads of one source are waited for, so that a drive that is gone does not hold up a scan.
const maxWaits = 64

// unread says of an error that a read failed for a reason that lies outside the file: what the system reports, unless it is
// about the name or the permission.
func unread(err error) bool {
	no, ok := errors.AsType[syscall.Errno](err)
	return ok && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) &&
		!slices.Contains([]syscall.Errno{syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL}, no)
}

// short says that the system ran out of something: no file is to blame.
func short(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// unreadText says why a file could not be read.
func unreadText(err error) sentence.Text {
	no, _ := errors.AsType[syscall.Errno](err)
	return sentence.T("reading it failed ({{.Problem}}): check its drive and try again", "Problem", no)
}

// whyNot is why a picture cannot be used: for what is wrong with it, or because reading it failed.
func whyNot(err error) sentence.Text {
	if unread(err) {
		return unreadText(err)
	}
	return why(err)
}

// patient calls read again after a while where it fails for a reason outside the file.
func patient[T any](ctx context.Context, waits *atomic.Int32, read func() (T, error)) (v T, err error) {
	for _, pause := range append(slices.Clone(pauses), -1) {
		if v, err = read(); err == nil || !unread(err) || pause < 0 || waits.Add(1) > maxWaits {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-time.After(pause):
		}
	}
	return v, err
}
