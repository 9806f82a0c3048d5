package exports

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/runs"
	"unnoise/pipeline/data"
	"unnoise/pipeline/model"
	"unnoise/pipeline/train"
	"unnoise/resources/demo"
	"unnoise/runtime/durable"
)

// Every format makes what it promises, and nothing is ever replaced: neither what is there when an export begins, nor what
// comes while it is made.
func TestNothingIsReplaced(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "pictures")
	require.NoError(t, demo.Write(t.Context(), src, 12, 1))
	p, err := model.FindPreset("tiny")
	require.NoError(t, err)
	c := train.Defaults(p)
	c.Steps, c.Batch, c.SampleCount, c.SampleSteps, c.SampleEvery = 2, 4, 2, 2, 1
	info, err := runs.NewInfo("tiny", model.Options{Preprocess: data.Preprocess{Width: 8, Height: 8, Channels: 3}}, c, runs.Source{Path: durable.Path(src)})
	require.NoError(t, err)
	run, err := runs.Create(filepath.Join(dir, "run"), info)
	require.NoError(t, err)
	_, err = run.Train(t.Context(), runs.Options{})
	require.NoError(t, err)
	for _, format := range Formats() {
		t.Run(format, func(t *testing.T) {
			home := t.TempDir()
			out := filepath.Join(home, "new", "out")
			req := Request{Run: run, Format: Format(format), Out: out, Checkpoint: -1}
			require.NoError(t, Export(t.Context(), req))
			st, err := os.Stat(out)
			require.NoError(t, err)
			require.ErrorIs(t, Export(t.Context(), req), fs.ErrExist)
			again, err := os.Stat(out)
			require.NoError(t, err)
			require.True(t, os.SameFile(st, again))
			require.Equal(t, st.ModTime(), again.ModTime())

			req.Out = filepath.Join(home, "late")
			req.Progress = func(int, int, string) {
				require.NoError(t, os.WriteFile(req.Out, []byte("thesis"), 0o600))
			}
			err = Export(t.Context(), req)
			require.ErrorIs(t, err, fs.ErrExist)
			b, rerr := os.ReadFile(req.Out)
			require.NoError(t, rerr)
			require.Equal(t, "thesis", string(b))
			left, err := os.ReadDir(home)
			require.NoError(t, err)
			require.Len(t, left, 2, "nothing is left behind")
		})
	}
}
