package page

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTypedPaths(t *testing.T) {
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	for typed, want := range map[string]string{
		"~/cats": filepath.Join(home, "cats"), "~": home, " /tmp/x ": "/tmp/x", "~cats/y": "~cats/y", "a/~/b": "a/~/b", "": "",
	} {
		require.Equal(t, want, Path(typed))
	}
}
