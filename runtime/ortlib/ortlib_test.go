package ortlib

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// realLibrary returns the machine's own library, which `make test` installs first.
func realLibrary(t testing.TB) string {
	lib, err := Find(context.Background())
	require.NoError(t, err)
	return lib.Path
}

func here(t testing.TB) platform {
	p, ok := platforms[runtime.GOOS+"/"+runtime.GOARCH]
	require.True(t, ok, "no pins for this platform")
	return p
}

// altered writes a copy of the real library after edit changed its bytes.
func altered(t testing.TB, edit func([]byte) []byte) string {
	b, err := os.ReadFile(realLibrary(t))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), here(t).files[0].name)
	require.NoError(t, os.WriteFile(path, edit(b), 0o600))
	return path
}

func text(t testing.TB, dir, content string) string {
	path := filepath.Join(dir, here(t).files[0].name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// emptyFinder searches four empty folders.
func emptyFinder(t testing.TB) finder {
	return finder{
		goos: runtime.GOOS, goarch: runtime.GOARCH,
		program: t.TempDir(), cache: filepath.Join(t.TempDir(), Version, "here"), system: []string{t.TempDir(), t.TempDir()},
	}
}

func TestFindGoesThroughThePlacesInOrder(t *testing.T) {
	lib, p := realLibrary(t), here(t)
	f := emptyFinder(t)
	put := func(dir, name string) string {
		require.NoError(t, os.MkdirAll(dir, 0o700))
		for i, file := range p.files {
			to := file.name
			if i == 0 {
				to = name
			}
			require.NoError(t, os.Symlink(filepath.Join(filepath.Dir(lib), file.name), filepath.Join(dir, to)))
		}
		return filepath.Join(dir, name)
	}
	if filepath.Base(lib) != p.files[0].name {
		t.Fatalf("the real library is called %s", lib)
	}

	_, err := f.find(t.Context())
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, "unnoise runtime install")
	require.ErrorContains(t, err, EnvVar)

	for _, place := range []struct{ dir, name, source string }{
		{f.system[1], p.names[len(p.names)-1], "system"},
		{f.system[0], p.names[0], "system"},
		{f.cache, p.names[0], "cache"},
		{f.program, p.names[0], "program"},
	} {
		path := put(place.dir, place.name)
		got, err := f.find(t.Context())
		require.NoError(t, err)
		require.Equal(t, Library{Path: path, Version: Version, Source: place.source}, got)
	}

	f.explicit = lib
	got, err := f.find(t.Context())
	require.NoError(t, err)
	require.Equal(t, Library{Path: lib, Version: Version, Source: "environment"}, got)

	f.explicit = filepath.Dir(lib)
	got, err = f.find(t.Context())
	require.NoError(t, err)
	require.Equal(t, lib, got.Path)
}

func TestADamagedLibraryIsPassedOverAndTold(t *testing.T) {
	f := emptyFinder(t)
	bad := text(t, f.program, "not a library")
	_, err := f.find(t.Context())
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, bad+" is not the")

	require.NoError(t, os.Symlink(realLibrary(t), filepath.Join(f.system[0], here(t).names[0])))
	lib, err := f.find(t.Context())
	require.NoError(t, err)
	require.Equal(t, "system", lib.Source)
	require.Len(t, lib.Skipped, 1)
	require.Contains(t, lib.Skipped[0], bad)
}

func TestOutsideTheVariableOnlyThePinnedBuildIsTaken(t *testing.T) {
	f := emptyFinder(t)
	other := altered(t, func(b []byte) []byte { return append(b, 0) })
	f.system = []string{filepath.Dir(other)}
	_, err := f.find(t.Context())
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, "instead of")
}

func TestFindStopsWithItsContext(t *testing.T) {
	f := emptyFinder(t)
	f.system = []string{filepath.Dir(realLibrary(t))}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.find(ctx)
	require.ErrorIs(t, err, context.Canceled)
	f.explicit = realLibrary(t)
	_, err = f.find(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestAPlatformWithoutPinsTakesANamedLibrary(t *testing.T) {
	f := emptyFinder(t)
	f.goarch = "riscv64"
	_, err := f.find(t.Context())
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, "riscv64")
	_, err = f.install(t.Context(), "", nil)
	require.ErrorIs(t, err, ErrNotFound)
	f.explicit = realLibrary(t)
	_, err = f.find(t.Context())
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "another processor")
}
