package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryPromiseHasItsTest holds that the tests and the commands that docs/reliability.md names are there.
func TestEveryPromiseHasItsTest(t *testing.T) {
	root := filepath.Join("..", "..")
	doc, err := os.ReadFile(filepath.Join(root, "docs", "reliability.md"))
	require.NoError(t, err)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	tests := map[string]bool{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(b), -1) {
			tests[m[1]] = true
		}
		return err
	}))
	named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(doc), -1)
	require.Greater(t, len(named), 40)
	for _, m := range named {
		require.True(t, tests[m[1]], "there is no %s", m[1])
	}
	for _, m := range regexp.MustCompile("`make (\\w+)`").FindAllStringSubmatch(string(doc), -1) {
		require.Contains(t, string(makefile), "\n"+m[1]+":")
	}
}
