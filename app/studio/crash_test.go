package studio

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/app/settings"
	"unnoise/app/workspace"
)

// runChild is a process that does one thing over and over until it is killed. It says "ready" when it has begun.
func runChild(what string) {
	ctx := context.Background()
	fail := func(err error) {
		fmt.Println("error:", err)
		os.Exit(3)
	}
	s, err := Open(ctx, os.Getenv("UNNOISE_TEST_DIR"))
	if err != nil {
		fail(err)
	}
	src := os.Getenv("UNNOISE_TEST_SRC")
	ready := func(n int) {
		if n == 0 {
			fmt.Println("ready")
		}
	}
	for n := 0; ; n++ {
		switch what {
		case "import":
			ready(n)
			_, err = s.Datasets.Import(ctx, src, fmt.Sprint("import ", n), nil)
		case "index":
			ready(n)
			err = s.Workspace.Rebuild(ctx, nil)
		case "trash":
			ready(n)
			if err = s.Datasets.Delete(ctx, "victim"); err == nil {
				_, err = s.Trash.Undo(ctx)
			}
		case "settings":
			ready(n)
			set := s.Settings.Get()
			set.Threads = n%64 + 1
			err = s.Settings.Set(ctx, set)
		case "queue":
			ready(n)
			var req TrainRequest
			if err = json.Unmarshal([]byte(os.Getenv("UNNOISE_TEST_REQ")), &req); err == nil {
				_, err = s.Training.Enqueue(ctx, req)
			}
			if q := s.Training.Queue(); err == nil && len(q) > 3 {
				err = s.Training.Remove(ctx, q[0].ID)
			}
		case "train":
			var req TrainRequest
			if err = json.Unmarshal([]byte(os.Getenv("UNNOISE_TEST_REQ")), &req); err == nil {
				err = s.Training.Start(ctx, req)
			}
			for err == nil {
				time.Sleep(5 * time.Millisecond)
				if s.Training.Snapshot().Step >= 15 {
					ready(0)
					select {}
				}
			}
		case "sample":
			var sreq SampleRequest
			if sreq, err = s.Galleries.Defaults(ctx, ""); err == nil {
				sreq.Count, sreq.Steps, sreq.Name = 100_000, 4, "many"
				_, err = s.Galleries.Create(ctx, sreq, func(p SampleProgress) {
					if p.Done >= 8 {
						fmt.Println("ready")
					}
				})
			}
		default:
			err = errors.New("unknown child " + what)
		}
		if err != nil {
			fail(err)
		}
	}
}

// kill starts a child that does what is asked and kills it after a while, without a chance to tidy.
func kill(t *testing.T, what, dir string, after time.Duration, env ...string) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), append([]string{"UNNOISE_TEST_CHILD=" + what, "UNNOISE_TEST_DIR=" + dir}, env...)...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	go func() { _, _ = io.Copy(io.Discard, out) }()
	time.Sleep(after)
	require.NoError(t, cmd.Process.Kill())
	err = cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, -1, exit.ExitCode(), "it must not have ended by itself")
}

// delays are how long children live: at random places in what they do, but the same ones in each run of the tests.
func delays(t *testing.T) []time.Duration {
	t.Helper()
	n := 8
	if testing.Short() {
		n = 2
	}
	var out []time.Duration
	for i := range n {
		out = append(out, time.Duration(i*i*3+i*7)*time.Millisecond)
	}
	return out
}

// prepared is a workspace with one dataset, "victim".
func prepared(t *testing.T) (dir, src string) {
	t.Helper()
	dir, src = filepath.Join(t.TempDir(), "ws"), t.TempDir()
	makePictures(t, src, 60)
	s, err := Open(t.Context(), dir)
	require.NoError(t, err)
	_, err = s.Datasets.Import(t.Context(), src, "victim", nil)
	require.NoError(t, err)
	require.NoError(t, s.Close(context.Background()))
	return dir, src
}

// reopened opens the workspace after a kill and requires that nothing finished is lost.
func reopened(t *testing.T, dir string) *Studio {
	t.Helper()
	s, err := Open(t.Context(), dir)
	require.NoError(t, err)
	require.NoError(t, s.Workspace.Refresh(t.Context()))
	d, err := s.Datasets.Get(t.Context(), "victim")
	require.NoError(t, err)
	require.Equal(t, 60, d.Items)
	return s
}

func TestKilledWhileImporting(t *testing.T) {
	dir, src := prepared(t)
	for _, after := range delays(t) {
		kill(t, "import", dir, after, "UNNOISE_TEST_SRC="+src)
		s := reopened(t, dir)
		list, err := s.Datasets.List(t.Context())
		require.NoError(t, err)
		for _, d := range list { // each one that is there is whole
			require.Equal(t, 60, d.Items)
			_, err := s.Datasets.Items(t.Context(), d.ID, ItemFilter{})
			require.NoError(t, err)
		}
		require.NoError(t, s.Close(context.Background()))
	}
}

func TestKilledWhileIndexing(t *testing.T) {
	dir, _ := prepared(t)
	manyRuns(t, dir, 300)
	for _, after := range delays(t) {
		kill(t, "index", dir, after)
		s := reopened(t, dir)
		n, err := s.Runs.Count(t.Context(), RunFilter{})
		require.NoError(t, err)
		require.Equal(t, 300, n)
		require.NoError(t, s.Close(context.Background()))
	}
}

func TestKilledWhileTrashing(t *testing.T) {
	dir, _ := prepared(t)
	for _, after := range delays(t) {
		kill(t, "trash", dir, after)
		s, err := Open(t.Context(), dir)
		require.NoError(t, err)
		items, err := s.Trash.List(t.Context())
		require.NoError(t, err)
		for _, it := range items {
			require.NoError(t, s.Trash.Restore(t.Context(), it.ID))
		}
		d, err := s.Datasets.Get(t.Context(), "victim")
		require.NoError(t, err)
		require.Equal(t, 60, d.Items)
		require.NoError(t, s.Close(context.Background()))
	}
}

func TestKilledWhileSavingSettingsAndQueue(t *testing.T) {
	dir, _ := prepared(t)
	s, err := Open(t.Context(), dir)
	require.NoError(t, err)
	req := small(t, s, "victim", "waits", 10)
	require.NoError(t, s.Training.Hold(t.Context(), true))
	_, err = s.Training.Enqueue(t.Context(), req)
	require.NoError(t, err)
	require.NoError(t, s.Close(context.Background()))
	b, err := json.Marshal(req)
	require.NoError(t, err)
	for _, after := range delays(t) {
		config := filepath.Join(t.TempDir(), "settings.json")
		kill(t, "settings", dir, after, "UNNOISE_CONFIG="+config)
		_, err := settings.Open(config) // not saved yet, or whole
		require.NoError(t, err)
		kill(t, "queue", dir, after, "UNNOISE_TEST_REQ="+string(b))
		s := reopened(t, dir)
		waitFor(t, "the queue", func() bool { return len(s.Training.Queue()) > 0 })
		require.True(t, s.Training.Snapshot().Held)
		require.Equal(t, req, s.Training.Queue()[0].Request)
		require.NoError(t, s.Close(context.Background()))
	}
}

func TestKilledWhileTrainingAndSampling(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	dir, _ := prepared(t)
	s, err := Open(t.Context(), dir)
	require.NoError(t, err)
	req := small(t, s, "victim", "killed", 40)
	require.NoError(t, s.Close(context.Background()))
	req.Steps = 1_000_000
	b, err := json.Marshal(req)
	require.NoError(t, err)
	kill(t, "train", dir, 100*time.Millisecond, "UNNOISE_TEST_REQ="+string(b))

	s = reopened(t, dir)
	found, err := s.Runs.Interrupted(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.GreaterOrEqual(t, found[0].Step, int64(10))
	require.Contains(t, found[0].Text.String(), fmt.Sprintf("Run 1 stopped at step %d. Continue?", found[0].Step))
	require.Empty(t, s.Training.Queue(), "what was begun waits no more")
	require.NoError(t, s.Training.ContinueRun(t.Context(), found[0].Run, found[0].Step+5))
	waitFor(t, "the run to be done", func() bool {
		r, err := s.Runs.Get(t.Context(), found[0].Run)
		return err == nil && r.State == RunDone && r.Step == found[0].Step+5
	})
	require.NoError(t, s.Training.Wait(t.Context()))
	require.NoError(t, s.Close(context.Background()))

	kill(t, "sample", dir, 50*time.Millisecond)
	s = reopened(t, dir)
	gs, err := s.Galleries.List(t.Context())
	require.NoError(t, err)
	require.Len(t, gs, 1)
	require.GreaterOrEqual(t, gs[0].Images, 8)
	keys, err := s.Galleries.Images(t.Context(), ImageFilter{Gallery: gs[0].ID})
	require.NoError(t, err)
	for _, k := range keys { // every image that is there is whole
		_, err := s.Thumbs.Image(t.Context(), k.Ref)
		require.NoError(t, err)
	}
	require.NoError(t, s.Close(context.Background()))
}

// manyRuns copies one real run's files under n names.
func manyRuns(t testing.TB, dir string, n int) {
	t.Helper()
	s, err := Open(context.Background(), dir)
	require.NoError(t, err)
	ctx := context.Background()
	var id string
	list, err := s.Datasets.List(ctx)
	require.NoError(t, err)
	id = list[0].ID
	req, err := s.Training.Defaults(ctx, id, "tiny")
	require.NoError(t, err)
	req.Name = "model run"
	sc, err := s.core.scan(ctx, id)
	require.NoError(t, err)
	info, err := sc.runInfo(s.core.env.ws, req, filepath.Join(dir, "runs", "x"))
	require.NoError(t, err)
	sc.release()
	require.NoError(t, s.Close(ctx))
	var log strings.Builder
	for step := 25; step <= 500; step += 25 {
		fmt.Fprintf(&log, `{"step":%d,"time":"2026-01-02T03:04:05Z","seconds":%d,"loss":%g,"weighted":1,"grad_norm":1,"lr":0.001,"images_per_second":10}`+"\n", step, step, 1/float64(step))
	}
	for i := range n {
		run := filepath.Join(dir, "runs", fmt.Sprintf("%05d-run", i+1))
		require.NoError(t, os.MkdirAll(filepath.Join(run, "samples"), 0o777))
		info.Name = fmt.Sprintf("Run %d", i+1)
		b, err := json.Marshal(info)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(run, "run.json"), b, 0o666))
		require.NoError(t, os.WriteFile(filepath.Join(run, "log.jsonl"), []byte(log.String()), 0o666))
		require.NoError(t, os.WriteFile(filepath.Join(run, "status.json"), []byte(`{"state":"stopped","updated":"2026-01-02T03:04:05Z"}`), 0o666))
	}
}

func TestNewerAndForeignFiles(t *testing.T) {
	ctx := t.Context()
	dir, _ := prepared(t)
	manyRuns(t, dir, 3)
	// One run from a newer version, one damaged: the others are listed, and the person is told.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "runs", "00001-run", "run.json"), []byte(`{"version": 99}`), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "runs", "00002-run", "run.json"), []byte(`{"version": `), 0o666))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "runs", "not a run"), 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "datasets", "victim", "dataset.json"), []byte(`{"version": 7, "source": "/x"}`), 0o666))
	s, err := Attach(ctx, dir)
	require.NoError(t, err)
	rs, err := s.Runs.List(ctx, RunFilter{})
	require.NoError(t, err)
	require.Len(t, rs, 1)
	_, err = s.Runs.Get(ctx, "00001-run")
	require.ErrorContains(t, err, "newer Unnoise")
	_, err = s.Datasets.Get(ctx, "victim")
	require.ErrorContains(t, err, "newer Unnoise")
	for _, id := range []string{"..", "../../etc", "a/b", "", ".hidden", `..\..`} {
		_, err := s.Runs.Get(ctx, id)
		require.Error(t, err, id)
		require.Error(t, s.Runs.Delete(ctx, id), id)
		require.Error(t, s.Galleries.Delete(ctx, id), id)
		require.Error(t, s.Datasets.Delete(ctx, id), id)
		require.Error(t, s.Models.Delete(ctx, "model:"+id), id)
	}
	require.NoError(t, s.Close(ctx))

	// A whole workspace from a newer version is refused and left alone.
	marker := filepath.Join(dir, "workspace.json")
	require.NoError(t, os.WriteFile(marker, []byte(`{"format":"unnoise workspace","version":2}`), 0o666))
	_, err = Open(ctx, dir)
	newer, ok := errors.AsType[*workspace.NewerError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, 2, newer.Version)
	b, err := os.ReadFile(marker)
	require.NoError(t, err)
	require.Contains(t, string(b), `"version":2`)
}
