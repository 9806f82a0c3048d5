package runs_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/runs"
)

const (
	childDir     = "UNNOISE_TEST_CHILD_DIR"
	childDataset = "UNNOISE_TEST_CHILD_DATASET"
	childRun     = "UNNOISE_TEST_CHILD_RUN"
)

// TestChildTrains is no test but what the process does that TestCrashBanner kills: it trains, says when a checkpoint lies on
// disk, and goes on.
func TestChildTrains(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("only in a process of its own")
	}
	b := pagetest.OpenAt(t, dir, nil)
	ctx := context.Background()
	if run := os.Getenv(childRun); run != "" {
		require.NoError(t, b.S.Studio.Training.ContinueRun(ctx, run, 0))
	} else {
		r := b.Request(os.Getenv(childDataset), 100_000)
		r.SampleEvery, r.CheckpointEvery = 100_000, 2
		require.NoError(t, b.S.Studio.Training.Start(ctx, r))
	}
	begun := int64(-1)
	b.Wait("a new checkpoint", func() bool {
		s := b.S.Studio.Training.Snapshot()
		if s.Run == "" {
			return false
		}
		cs, err := b.S.Studio.Runs.Checkpoints(ctx, s.Run)
		require.NoError(t, err)
		if begun < 0 {
			begun = 0
			if len(cs) > 0 {
				begun = cs[0].Step
			}
		}
		return len(cs) > 0 && cs[0].Step > begun
	})
	fmt.Println("trained", b.S.Studio.Training.Snapshot().Run)
	select {} // until the kill
}

// crash trains in a process of its own and kills it without a chance to save.
func crash(t *testing.T, env ...string) (run string) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "-test.run=^TestChildTrains$")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var said []string
	for lines := bufio.NewScanner(out); run == "" && lines.Scan(); {
		said = append(said, lines.Text())
		run, _ = strings.CutPrefix(lines.Text(), "trained ")
		if run == lines.Text() {
			run = ""
		}
	}
	require.NotEmpty(t, run, "%s", said)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait(), "it must not have ended by itself")
	return run
}

// After its process was killed, a run stands at the top of the page with the step it can go on from; it goes on from there,
// and after another kill it can be left as it is.
func TestCrashBanner(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	dir := filepath.Join(t.TempDir(), "work space")
	pictures := pagetest.Pictures(t, 8)
	var dataset string
	t.Run("before", func(t *testing.T) {
		b := pagetest.OpenAt(t, dir, nil)
		b.NeedRuntime()
		d, err := b.S.Studio.Datasets.Import(context.Background(), pictures, "", nil)
		require.NoError(t, err)
		dataset = d.ID
	})
	if dataset == "" {
		t.Skip("the runtime library is not installed")
	}
	env := []string{childDir + "=" + dir, childDataset + "=" + dataset}
	run := crash(t, env...)
	var step int64
	t.Run("continue", func(t *testing.T) {
		b := pagetest.OpenAt(t, dir, runs.New)
		step = stoppedAt(b, run)
		b.Tap("Continue")
		b.Wait("the Train page", func() bool { return len(b.Visits) > 0 })
		require.Equal(t, pagetest.Navigation{To: page.Train, Target: page.WatchRun{}}, b.Visits[0])
		b.Wait("further steps", func() bool { return b.S.Studio.Training.Snapshot().Step > step })
		b.Wait("no banner", func() bool { return !b.Shows("Continue?") })
		require.NoError(t, b.S.Studio.Training.Stop())
		b.Wait("the end", func() bool { return !b.S.Studio.Training.Snapshot().Busy() })
	})
	require.Equal(t, run, crash(t, append(env, childRun+"="+run)...))
	t.Run("leave", func(t *testing.T) {
		b := pagetest.OpenAt(t, dir, runs.New)
		require.Greater(t, stoppedAt(b, run), step)
		b.Tap("Leave it stopped")
		b.Wait("no banner", func() bool { return !b.Shows("Continue?") })
		r, err := b.S.Studio.Runs.Get(context.Background(), run)
		require.NoError(t, err)
		require.Equal(t, studio.RunStopped, r.State)
	})
}

// stoppedAt waits for the banner and returns the step it names, which must be that of the newest checkpoint on disk.
func stoppedAt(b *pagetest.Bench, run string) int64 {
	b.T.Helper()
	b.WaitText("Continue?")
	cs, err := b.S.Studio.Runs.Checkpoints(context.Background(), run)
	require.NoError(b.T, err)
	require.NotEmpty(b.T, cs)
	for _, text := range b.Texts() {
		if rest, ok := strings.CutPrefix(text, "Run 1 stopped at step "); ok {
			at, _, ok := strings.Cut(rest, ". Continue?")
			require.True(b.T, ok, text)
			step, err := strconv.ParseInt(strings.ReplaceAll(at, ",", ""), 10, 64)
			require.NoError(b.T, err)
			require.Equal(b.T, cs[0].Step, step)
			return step
		}
	}
	b.T.Fatalf("the banner does not name its step: %q", b.Texts())
	return 0
}
