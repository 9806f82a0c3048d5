package studio

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The time shown goes on from what earlier processes spent, and stands still in a pause.
func TestElapsedLeavesPausesOut(t *testing.T) {
	s := &supervisor{job: &job{}}
	s.snap.Store(&Snapshot{State: JobStarting})
	require.Zero(t, s.snapshot().Elapsed)
	s.trains(true, time.Hour)
	s.job.since = s.job.since.Add(-time.Minute) // a minute ago
	s.snap.Store(&Snapshot{State: JobTraining})
	require.InDelta(t, 61, s.snapshot().Elapsed.Minutes(), 0.5)
	s.trains(false, 0)
	s.snap.Store(&Snapshot{State: JobPaused})
	paused := s.snapshot().Elapsed
	require.InDelta(t, 61, paused.Minutes(), 0.5)
	time.Sleep(2 * time.Millisecond)
	require.Equal(t, paused, s.snapshot().Elapsed)
	s.trains(true, 0)
	require.GreaterOrEqual(t, s.snapshot().Elapsed, paused)
}

// What the rooms below call their work is not shown raw.
func TestPhasesAreSentences(t *testing.T) {
	for _, what := range []string{"samples", "held-out loss", "checkpoint", "unpacking", "waiting for another install", "downloading ONNX Runtime 1.27.0", "checking", "copying"} {
		require.NotEqual(t, what, phase(what).String())
	}
	require.Equal(t, "something new", phase("something new").String())
}
