//go:build unix

package train

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/checkpoint"
	"unnoise/runtime/runtimetest"
)

// With no room for a checkpoint, training goes on, says so, and saves the next one; what was saved stays.
func TestNoRoomForACheckpoint(t *testing.T) {
	if !runtimetest.Alone(t) {
		return
	}
	cache := makeCache(t, t.TempDir())
	want := unbroken(t, cache)
	j := testJob(t.TempDir(), cache)
	var warned []string
	lift := func() {}
	defer func() { lift() }()
	j.Events = func(e Event) {
		switch e := e.(type) {
		case Saved:
			if e.Step == 5 {
				lift = runtimetest.LimitFiles(t, 10_000)
			}
		case Warned:
			warned = append(warned, e.Message.String())
			infos, _, err := checkpoint.List(filepath.Join(j.Dir, CheckpointDir))
			require.NoError(t, err)
			require.Len(t, infos, 1)
			require.EqualValues(t, 5, infos[0].Step)
			if strings.HasPrefix(e.Message.String(), "the checkpoint of step 15") {
				lift()
				lift = func() {}
			}
		}
	}
	out, err := Run(t.Context(), j)
	require.NoError(t, err)
	require.True(t, out.Done)
	require.Len(t, warned, 2)
	require.Contains(t, warned[0], "the checkpoint of step 10 could not be saved; training goes on and tries again at step 15")
	require.Contains(t, warned[0], "free some space")
	require.Equal(t, want.state, outcomeOf(t, j.Dir).state)
}

// With no room for the last one, the run fails and says where it stands; once there is room, it goes on from there.
func TestNoRoomForTheLastCheckpoint(t *testing.T) {
	if !runtimetest.Alone(t) {
		return
	}
	cache := makeCache(t, t.TempDir())
	want := unbroken(t, cache)
	j := testJob(t.TempDir(), cache)
	lift := func() {}
	defer func() { lift() }()
	j.Events = func(e Event) {
		if s, ok := e.(Saved); ok && s.Step == 20 {
			lift = runtimetest.LimitFiles(t, 10_000)
		}
	}
	_, err := Run(t.Context(), j)
	require.ErrorContains(t, err, "the last checkpoint could not be saved, so the run stands at step 20")
	lift()
	lift = func() {}
	j.Events = nil
	_, err = Run(t.Context(), j)
	require.NoError(t, err)
	got := outcomeOf(t, j.Dir)
	require.Equal(t, want.state, got.state)
	require.Equal(t, want.log, got.log)
}
