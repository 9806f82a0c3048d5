package data

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// failing is a file that is there, is regular, and cannot be read: input/output error.
const failing = "/proc/self/mem"

func needsFailing(t *testing.T) {
	t.Helper()
	if _, err := os.ReadFile(failing); !errors.Is(err, syscall.EIO) {
		t.Skip("no file that fails to be read")
	}
}

func TestWhatIsBlamedOnAFile(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("a: %w", &fs.PathError{Op: "read", Path: "x", Err: err}) }
	for _, err := range []error{syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENXIO, syscall.ETIMEDOUT} {
		require.True(t, unread(wrap(err)), err)
	}
	for _, err := range []error{syscall.ENOENT, syscall.EACCES, syscall.EPERM, syscall.ENOTDIR, syscall.ELOOP, syscall.EISDIR, errors.New("bad"), fs.ErrNotExist, context.Canceled} {
		require.False(t, unread(wrap(err)), err)
	}
	require.False(t, unread(nil))
	require.True(t, short(wrap(syscall.EMFILE)))
	require.False(t, short(wrap(syscall.EIO)))
}

func TestPassingErrorsAreWaitedFor(t *testing.T) {
	var waits atomic.Int32
	n := 0
	v, err := patient(t.Context(), &waits, func() (int, error) {
		n++
		if n < 3 {
			return 0, syscall.EMFILE
		}
		return 7, nil
	})
	require.NoError(t, err)
	require.Equal(t, 7, v)
	n = 0
	always := func() (int, error) { n++; return 0, syscall.EIO }
	_, err = patient(t.Context(), &waits, always)
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, 1+len(pauses), n)
	n = 0
	waits.Store(maxWaits)
	_, err = patient(t.Context(), &waits, always)
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, 1, n, "a drive that is gone is not waited for file by file")
	n = 0
	waits.Store(0)
	_, err = patient(t.Context(), &waits, func() (int, error) { n++; return 0, fs.ErrNotExist })
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, 1, n)
}

func TestPicturesThatCannotBeReadNow(t *testing.T) {
	needsFailing(t)
	dir, rep := folder(t, 4)
	require.NoError(t, os.Symlink(failing, filepath.Join(dir, "zz.png")))
	again, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Len(t, again.Items, 4)
	require.Len(t, again.Bad, 1)
	require.True(t, again.Bad[0].Unread)
	require.Equal(t, "reading it failed (input/output error): check its drive and try again", again.Bad[0].Reason)

	// Once it was usable, it is not dropped: decoding ends, and leaves no cache.
	name := rep.Items[2].Name
	path := filepath.Join(dir, filepath.FromSlash(name))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Symlink(failing, path))
	out := t.TempDir()
	_, err = BuildCache(t.Context(), "", rep, small, out, nil)
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorContains(t, err, name)
	require.ErrorContains(t, err, "no picture was left out")
	require.NoFileExists(t, filepath.Join(out, cacheJSON))
	require.NoFileExists(t, filepath.Join(out, cacheBin))
	require.NoError(t, os.Remove(path))
	write(t, path, b)
	c, err := BuildCache(t.Context(), "", rep, small, out, nil)
	require.NoError(t, err)
	require.Equal(t, 4, c.Len())
	require.NoError(t, c.Close())
}

func TestDriveThatIsGone(t *testing.T) {
	dir, rep := folder(t, 4)
	s, err := OpenSource(dir)
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	require.ErrorContains(t, s.there(), "connect its drive")
	_, err = BuildCache(t.Context(), dir, rep, small, t.TempDir(), nil)
	require.ErrorContains(t, err, "connect its drive")
}
