package studio

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What ONNX Runtime says when memory is short offers a smaller batch and a smaller network, which are then trained.
func TestShortMemoryIsMended(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	ctx := t.Context()
	s := openStudio(t, filepath.Join(t.TempDir(), "ws"))
	src := t.TempDir()
	makePictures(t, src, 40)
	d, err := s.Datasets.Import(ctx, src, "Sprites", nil)
	require.NoError(t, err)
	req := small(t, s, d.ID, "short", 2)
	req.Batch = 6
	require.NoError(t, s.Training.Start(ctx, req))
	waitFor(t, "the run to end", func() bool { n := s.Training.Snapshot(); return n.Run != "" && !n.Busy() })
	first := s.Training.Snapshot().Run
	require.Equal(t, "tiny", req.Preset)

	said := errors.New("training step 3: Non-zero status code returned while running Conv node. bad_alloc: std::bad_alloc")
	mends := mender{s.core, first}.mends(said)
	require.Len(t, mends, 1, "no preset is smaller than this one")
	require.Equal(t, "Start anew with a batch of 3", mends[0].Label.String())
	require.NoError(t, mends[0].Apply(ctx))
	waitFor(t, "another run to end", func() bool { n := s.Training.Snapshot(); return n.Run != first && n.Run != "" && !n.Busy() })
	second, err := s.Runs.Settings(ctx, s.Training.Snapshot().Run)
	require.NoError(t, err)
	require.Equal(t, 3, second.Batch)
	require.Equal(t, req.Steps, second.Steps)

	name, ok := smaller("small")
	require.True(t, ok)
	require.Equal(t, "tiny", name)
	_, ok = smaller("tiny")
	require.False(t, ok)

	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	require.NoError(t, s.Training.Wait(ctx))
}
