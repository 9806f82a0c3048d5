package memory

import (
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFree(t *testing.T) {
	if !slices.Contains([]string{"linux", "darwin", "windows"}, runtime.GOOS) {
		t.Skip("this system does not say")
	}
	n := Free()
	require.Greater(t, n, int64(1<<20), "this test runs, so there is some")
	require.Less(t, n, int64(1<<46))
}
