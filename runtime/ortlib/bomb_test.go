//go:build !race && !windows

package ortlib

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// A bomb of zeros is left after maxUnpacked bytes, whatever the header promises.
func TestUnpackLeavesABomb(t *testing.T) {
	if testing.Short() {
		t.Skip("unpacks a gigabyte")
	}
	var b bytes.Buffer
	gz, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	require.NoError(t, err)
	tw := tar.NewWriter(gz)
	require.NoError(t, tw.WriteHeader(&tar.Header{Name: "package/bomb", Typeflag: tar.TypeReg, Size: maxUnpacked + 1<<20, Mode: 0o644}))
	_, err = io.CopyN(tw, zeros{}, maxUnpacked+1<<20)
	require.NoError(t, err)
	require.NoError(t, tw.Close())
	require.NoError(t, gz.Close())
	dir := t.TempDir()
	err = unpack(t.Context(), &b, toy("library"), dir, func(int64, int64, string) {})
	require.ErrorContains(t, err, "far larger")
	onlyIn(t, dir, dir)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
