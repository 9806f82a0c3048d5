package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/runs"
)

// checked runs check --json on a run and returns what it printed and the exit code.
func checked(t *testing.T, args ...string) (checkResult, int) {
	t.Helper()
	code, stdout, stderr := cli(append([]string{"check", "--json"}, args...)...)
	var res checkResult
	require.NoError(t, json.Unmarshal([]byte(stdout), &res), stderr)
	require.Equal(t, res.Whole, code == exitDone, stderr)
	return res, code
}

// damage turns a bit in the middle of a file.
func damage(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[len(b)/2] ^= 4
	require.NoError(t, os.WriteFile(path, b, 0o666))
}

func TestCheckFindsEveryTurnedBit(t *testing.T) {
	run := trainedRun(t)
	before := snapshot(t, run)
	res, code := checked(t, "--run", run)
	require.Equal(t, exitDone, code)
	require.Equal(t, 1, res.Runs)
	require.Equal(t, 1, res.Checkpoints)
	require.Equal(t, 2, res.Pictures)
	require.Equal(t, 1, res.Caches)
	require.Zero(t, res.Unhashed)
	require.Positive(t, res.Records)
	require.Equal(t, before, snapshot(t, run), "looking changes nothing")

	var files []string
	for path, content := range before {
		if content != "folder" && content != "" {
			files = append(files, path)
		}
	}
	require.Greater(t, len(files), 10)
	for _, path := range files {
		name := filepath.Base(path)
		if name == "manifest.json" || name == "run.json" || name == "status.json" || name == "log.jsonl" || name == "cache.json" {
			continue // a bit turned in a text may leave another text that is right; see below
		}
		damage(t, path)
		res, code := checked(t, "--run", run)
		require.Equal(t, exitFailed, code, path)
		require.Len(t, res.Findings, 1, path)
		require.True(t, strings.HasPrefix(path, res.Findings[0].Path), "%s: %s", path, res.Findings[0].Path)
		require.NotEmpty(t, res.Findings[0].Do)
		require.NoError(t, os.WriteFile(path, []byte(before[path]), 0o666))
	}
	refused(t, exitFailed, "is not a run", "check", "--run", t.TempDir())
	refused(t, exitUsage, "not both", "check", "--run", run, "--workspace", run)
	refused(t, exitFailed, "there is no workspace in", "check", "--workspace", t.TempDir())
}

// What the texts of a run said can be had again from its checkpoints, and the run goes on.
func TestRepair(t *testing.T) {
	run := trainedRun(t)
	before := snapshot(t, run)
	path := func(name string) string { return filepath.Join(run, filepath.FromSlash(name)) }
	require.NoError(t, os.WriteFile(path("run.json"), []byte(`{"version":1,"na`), 0o666))
	require.NoError(t, os.WriteFile(path("status.json"), nil, 0o666))
	log := before[path("log.jsonl")]
	require.NoError(t, os.WriteFile(path("log.jsonl"), []byte("\x00\x00\x00\n"+log+`{"step":`), 0o666))
	require.NoError(t, os.WriteFile(path(".tmp-run.json-0badcafe"), []byte("half"), 0o666))
	require.NoError(t, os.Mkdir(path("checkpoints/.tmp-000004-0badcafe"), 0o777))
	require.NoError(t, os.WriteFile(path("my notes.txt"), []byte("mine"), 0o666))

	res, code := checked(t, "--run", run)
	require.Equal(t, exitFailed, code)
	require.Len(t, res.Findings, 3)
	for _, f := range res.Findings {
		require.Equal(t, "mendable", f.State, f.What)
	}
	require.Equal(t, 2, res.Debris)
	refused := snapshot(t, run)
	_, _, stderr := cli("check", "--run", run)
	require.Contains(t, stderr, "Can be repaired: 3")
	require.Equal(t, refused, snapshot(t, run), "only looked at")

	res, code = checked(t, "--run", run, "--repair")
	require.Equal(t, exitDone, code)
	for _, f := range res.Findings {
		require.Equal(t, "mended", f.State, f.What)
	}
	require.Zero(t, res.Debris)
	after := snapshot(t, run)
	require.JSONEq(t, before[path("run.json")], after[path("run.json")])
	require.Equal(t, log, after[path("log.jsonl")])
	require.Equal(t, "mine", after[path("my notes.txt")])
	for _, name := range []string{"run.json", "status.json", "log.jsonl"} {
		require.Equal(t, refused[path(name)], after[path(name+".damaged")], "what it was is kept")
	}
	for name := range after {
		require.NotContains(t, name, ".tmp-")
	}
	// A second time, nothing that was kept is replaced.
	require.NoError(t, os.WriteFile(path("run.json"), []byte("other rubbish"), 0o666))
	_, code = checked(t, "--run", run, "--repair")
	require.Equal(t, exitDone, code)
	again := snapshot(t, run)
	require.Equal(t, after[path("run.json.damaged")], again[path("run.json.damaged")])
	require.Equal(t, "other rubbish", again[path("run.json.damaged-2")])
	code, _, stderr = cli("train", "--run", run, "--resume", "--steps", "4")
	require.Zero(t, code, stderr)
	res, _ = checked(t, "--run", run)
	require.True(t, res.Whole)

	// Where no checkpoint holds a copy, as in runs of older versions, it says so and changes nothing.
	require.NoError(t, os.WriteFile(path("run.json"), []byte("rubbish"), 0o666))
	copies, err := filepath.Glob(path("checkpoints/*/manifest.json"))
	require.NoError(t, err)
	for _, m := range copies {
		b, err := os.ReadFile(m)
		require.NoError(t, err)
		var man map[string]any
		require.NoError(t, json.Unmarshal(b, &man))
		delete(man, "run")
		b, err = json.Marshal(man)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(m, b, 0o666))
	}
	was := snapshot(t, run)
	res, code = checked(t, "--run", run, "--repair")
	require.Equal(t, exitFailed, code)
	require.Equal(t, "lost", res.Findings[0].State)
	require.Contains(t, res.Findings[0].Do, "backup")
	require.Equal(t, was, snapshot(t, run))
}

func TestCheckOfNoRun(t *testing.T) {
	refused(t, exitUsage, "--run is missing", "check", "--run", "")
}

func TestCheckTellsNewerFilesFromDamagedOnes(t *testing.T) {
	run := trainedRun(t)
	path := filepath.Join(run, "run.json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	newer := bytes.Replace(b, []byte(fmt.Sprintf(`"version": %d`, runs.Version)), []byte(`"version": 9`), 1)
	require.NotEqual(t, b, newer)
	require.NoError(t, os.WriteFile(path, newer, 0o666))
	res, code := checked(t, "--run", run, "--repair")
	require.Equal(t, exitFailed, code)
	require.Len(t, res.Findings, 1)
	require.Equal(t, "unread", res.Findings[0].State)
	require.Contains(t, res.Findings[0].Do, "newer Unnoise")
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, newer, got)
}
