package studio

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/train"
)

// There is one smoothed loss: the list of runs, a run's own page, the end of its curve and a training that goes on from its
// log show the same number, also where the log is longer than what the list reads of it.
func TestOneSmoothedLoss(t *testing.T) {
	ctx := t.Context()
	dir, _ := prepared(t)
	manyRuns(t, dir, 1)
	var log strings.Builder
	falls := func(step int) float64 { return 0.1 + 100/float64(step*step) }
	for step := 25; step <= 25*4000; step += 25 {
		fmt.Fprintf(&log, `{"step":%d,"time":"2026-01-02T03:04:05Z","seconds":1,"loss":%g,"weighted":1,"grad_norm":1,"lr":0.001,"images_per_second":10}`+"\n", step, falls(step))
	}
	path := filepath.Join(dir, "runs", "00001-run", train.LogName)
	require.NoError(t, os.WriteFile(path, []byte(log.String()), 0o666))
	require.Greater(t, log.Len(), tailBytes)
	s, err := Open(ctx, dir)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close(context.Background())) }()
	require.NoError(t, s.Workspace.Refresh(ctx))
	list, err := s.Runs.List(ctx, RunFilter{})
	require.NoError(t, err)
	one, err := s.Runs.Get(ctx, list[0].ID)
	require.NoError(t, err)
	points, _, _, err := s.Runs.Log(ctx, list[0].ID, 0)
	require.NoError(t, err)
	curve := points[len(points)-1].Smooth
	require.InDelta(t, curve, list[0].Loss, 1e-12)
	require.InDelta(t, curve, one.Loss, 1e-12)
	goesOn := train.Smoothed(logTail(path))
	var whole train.Smoother
	for _, p := range points {
		whole.Add(p.Loss, Smoothing)
	}
	require.InDelta(t, whole.Add(7, Smoothing), goesOn.Add(7, Smoothing), 1e-12)
	require.InDelta(t, points[0].Loss, points[0].Smooth, 1e-12, "the first value stands for itself")
	require.InDelta(t, falls(25*4000), curve, 1e-3, "and the last is near the data")
}
