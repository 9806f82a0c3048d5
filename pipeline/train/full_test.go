//go:build unix

package train

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/checkpoint"
)

// limitFiles makes the system refuse larger files, as a full disk would, until the function returned is called.
func limitFiles(t *testing.T, bytes uint64) (lift func()) {
	t.Helper()
	var old syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
	signal.Ignore(syscall.SIGXFSZ)
	now := old
	now.Cur = bytes
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &now))
	return func() {
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old))
		signal.Reset(syscall.SIGXFSZ)
	}
}

// alone runs the calling test in a process of its own, which a limit may hit as it likes, and reports whether this is
// that process.
func alone(t *testing.T) bool {
	t.Helper()
	const env = "UNNOISE_TEST_ALONE"
	if os.Getenv(env) != "" {
		return true
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), env+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "PASS")
	return false
}

// With no room for a checkpoint, training goes on, says so, and saves the next one; what was saved stays.
func TestNoRoomForACheckpoint(t *testing.T) {
	if !alone(t) {
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
				lift = limitFiles(t, 10_000)
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
	if !alone(t) {
		return
	}
	cache := makeCache(t, t.TempDir())
	want := unbroken(t, cache)
	j := testJob(t.TempDir(), cache)
	lift := func() {}
	defer func() { lift() }()
	j.Events = func(e Event) {
		if s, ok := e.(Saved); ok && s.Step == 20 {
			lift = limitFiles(t, 10_000)
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
