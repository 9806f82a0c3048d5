package ortlib

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func sum(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	require.NoError(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

// TestWhatIsLoadedIsWhatWasChecked swaps the library in between, in every way.
func TestWhatIsLoadedIsWhatWasChecked(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the file cannot be touched there")
	}
	want := here(t).files[0]
	for name, swap := range map[string]func(t *testing.T, path string){
		"nothing": func(*testing.T, string) {},
		"renamed over": func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path+".evil", []byte("evil"), 0o600))
			require.NoError(t, os.Rename(path+".evil", path))
		},
		"written into": func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte("evil"), 1000)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		},
		"cut":     func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 10)) },
		"removed": func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, named := range []bool{false, true} {
				f := emptyFinder(t)
				path := altered(t, func(b []byte) []byte { return b })
				f.program = filepath.Dir(path)
				if named {
					f.explicit = path
				}
				var from string
				require.NoError(t, f.load(t.Context(), func(lib Library, p string) error {
					require.Equal(t, path, lib.Path)
					require.NotEqual(t, path, p)
					swap(t, path)
					require.Equal(t, want.sha256, sum(t, p))
					from = p
					return nil
				}))
				require.NoFileExists(t, from, "nothing is left behind")
			}
		})
	}
}

// TestSwappedBeforeTheCheckIsRefused holds that a library of the right size and the wrong bytes is not loaded.
func TestSwappedBeforeTheCheckIsRefused(t *testing.T) {
	for _, named := range []bool{false, true} {
		f := emptyFinder(t)
		path := altered(t, func(b []byte) []byte { b[len(b)/3] ^= 1; return b })
		f.program = filepath.Dir(path)
		if named {
			f.explicit = path
		}
		require.ErrorContains(t, f.load(t.Context(), func(Library, string) error {
			t.Error("it was loaded")
			return nil
		}), "damaged or altered")
	}
}

// TestPrivateCopy is what systems without sealed memory do.
func TestPrivateCopy(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the file itself is held there")
	}
	privateCopy(t)
}

// A library that is there but cannot be held, for want of room, is not said to be missing.
func TestNoRoomToHoldIt(t *testing.T) {
	f := emptyFinder(t)
	f.cache = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(f.cache, platforms[f.goos+"/"+f.goarch].names[0]), nil, 0o600))
	f.open = func(path string, _ int64) (io.Closer, *os.File, error) {
		return nil, nil, notReady(path, syscall.ENOSPC)
	}
	_, err := f.find(t.Context())
	require.ErrorIs(t, err, errHold)
	require.ErrorContains(t, err, "make room")
	require.NotErrorIs(t, err, ErrNotFound)
}

// BenchmarkLoad is Find with its bytes held, as at every start.
func BenchmarkLoad(b *testing.B) {
	path := realLibrary(b)
	f := emptyFinder(b)
	f.explicit = path
	for b.Loop() {
		require.NoError(b, f.load(b.Context(), func(Library, string) error { return nil }))
	}
}

// BenchmarkFind is the check alone.
func BenchmarkFind(b *testing.B) {
	path := realLibrary(b)
	f := emptyFinder(b)
	f.explicit = path
	for b.Loop() {
		_, err := f.find(b.Context())
		require.NoError(b, err)
	}
}
