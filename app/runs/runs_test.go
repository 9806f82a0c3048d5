package runs

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/datasets"
	"unnoise/app/disk"
	"unnoise/pipeline/checkpoint"
	"unnoise/pipeline/data"
	"unnoise/pipeline/model"
	"unnoise/pipeline/train"
	"unnoise/resources/demo"
	"unnoise/runtime/durable"
)

const holdEnv = "UNNOISE_TEST_HOLD_LOCK"

// TestMain lets the test binary be a second process that trains a run, to all appearances: it holds the lock.
func TestMain(m *testing.M) {
	if dir := os.Getenv(holdEnv); dir != "" {
		r, err := Open(dir)
		if err != nil {
			panic(err)
		}
		l := durable.Lock(filepath.Join(dir, LockName))
		if ok, err := l.TryLock(); !ok || err != nil {
			panic(fmt.Sprint(ok, err))
		}
		if err := r.setStatus(Running, 0, nil); err != nil {
			panic(err)
		}
		fmt.Println("held")
		select {}
	}
	os.Exit(m.Run())
}

// newRun makes a small run of demo pictures.
func newRun(t *testing.T) *Run {
	t.Helper()
	src := filepath.Join(t.TempDir(), "pictures")
	require.NoError(t, demo.Write(t.Context(), src, 24, 1))
	p, err := model.FindPreset("tiny")
	require.NoError(t, err)
	c := train.Defaults(p)
	c.Steps, c.Batch, c.SampleCount, c.SampleSteps = 3, 4, 2, 2
	info, err := NewInfo("tiny", model.Options{
		Preprocess: data.Preprocess{Width: 8, Height: 8, Channels: 3}, Classes: demo.Classes(),
	}, c, Source{Path: durable.Path(src)})
	require.NoError(t, err)
	r, err := Create(filepath.Join(t.TempDir(), "runs", "0001-run"), info)
	require.NoError(t, err)
	return r
}

func TestCreateOpenUpdate(t *testing.T) {
	r := newRun(t)
	require.Equal(t, "0001-run", r.Info().Name)
	require.NoError(t, r.Update(func(i *Info) { i.Notes, i.Tags, i.Starred = "nice", []string{"a", "ü"}, true }))
	again, err := Open(r.Dir)
	require.NoError(t, err)
	require.Equal(t, r.Info(), again.Info())
	require.Equal(t, "nice", again.Info().Notes)
	st, err := again.Status()
	require.NoError(t, err)
	require.Equal(t, New, st.State)

	// What another process wrote meanwhile is kept.
	require.NoError(t, r.Update(func(i *Info) { i.Name = "new name" }))
	require.NoError(t, again.Update(func(i *Info) { i.Notes = "nicer" }))
	require.Equal(t, "new name", again.Info().Name)

	_, err = Create(r.Dir, r.Info())
	require.ErrorIs(t, err, ErrExists)
	before, err := os.ReadFile(filepath.Join(r.Dir, InfoName))
	require.NoError(t, err)
	require.ErrorIs(t, r.Update(func(i *Info) { i.Train.Steps = -1 }), model.ErrOption)
	after, err := os.ReadFile(filepath.Join(r.Dir, InfoName))
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestCreateLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	info := newRun(t).Info()
	info.Train.Batch = 0
	_, err := Create(filepath.Join(dir, "a", "b"), info)
	require.ErrorIs(t, err, model.ErrOption)
	require.NoDirExists(t, filepath.Join(dir, "a"))
}

func TestOpenRefuses(t *testing.T) {
	r := newRun(t)
	_, err := Open(filepath.Join(r.Dir, "none"))
	require.ErrorContains(t, err, "does not exist")
	_, err = Open(t.TempDir())
	require.ErrorContains(t, err, "is not a run")
	path := filepath.Join(r.Dir, InfoName)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	for want, change := range map[string]func(map[string]any){
		"use a newer Unnoise":      func(m map[string]any) { m["version"] = Version + 1 },
		"has no version":           func(m map[string]any) { delete(m, "version") },
		"contradicts itself":       func(m map[string]any) { m["model"].(map[string]any)["classes"] = []string{"one"} },
		"a batch of 0":             func(m map[string]any) { m["train"].(map[string]any)["batch"] = 0 },
		"there is no objective":    func(m map[string]any) { m["model"].(map[string]any)["objective"] = "magic" },
		"shorten them":             func(m map[string]any) { m["notes"] = strings.Repeat("x", maxWords+1) },
		"there is no noise schedu": func(m map[string]any) { m["model"].(map[string]any)["schedule"] = "magic" },
	} {
		var m map[string]any
		require.NoError(t, json.Unmarshal(good, &m))
		change(m)
		require.NoError(t, disk.WriteJSON(path, m))
		_, err := Open(r.Dir)
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, os.WriteFile(path, good[:len(good)/2], 0o644))
	_, err = Open(r.Dir)
	require.ErrorContains(t, err, "is damaged")
}

func FuzzReadInfo(f *testing.F) {
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"version":1,"model":{"version":1,"unet":{"sample_size":[1,2]},"objective":"v"},"train":{"steps":1}}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, InfoName), b, 0o644))
		if i, err := readInfo(dir); err == nil {
			require.NoError(t, i.Model.Validate())
		}
	})
}

// FuzzStatus holds that whatever status.json says, the run can be listed, and that its status can be had again.
func FuzzStatus(f *testing.F) {
	f.Add([]byte(`{"state":"stopped","pid":3,"host":"h","updated":"2026-01-02T03:04:05Z","step":2,"steps":3}`))
	f.Add([]byte(`{"state":"failed","error":"x","why":{"template":"{{.A}}{{.A}}","data":{"A":{"template":"{{.B}}"}}}}`))
	f.Add([]byte(`{"state":7}`))
	f.Add([]byte(`{"state":"done"`))
	dir := f.TempDir()
	r := &Run{Dir: dir, info: Info{Train: train.Config{Steps: 3}}}
	f.Fuzz(func(t *testing.T, b []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, StatusName), b, 0o644))
		st, err := r.Status()
		require.NoError(t, err)
		_ = st.Why.Or(st.Error).String()
		require.NotEqual(t, Running, st.State, "nobody holds its lock")
		if _, err := ReadStatus(dir); err != nil {
			require.NoError(t, WriteStatus(dir))
			_, err := ReadStatus(dir)
			require.NoError(t, err)
		}
	})
}

func TestTrainStatusAndWeights(t *testing.T) {
	r := newRun(t)
	_, _, _, err := r.Weights(-1, "")
	require.ErrorContains(t, err, "has no checkpoint yet")
	out, err := r.Train(t.Context(), Options{})
	require.NoError(t, err)
	require.Equal(t, train.Outcome{Step: 3, Done: true}, out)
	require.NotEmpty(t, r.Info().Data.Fingerprint)
	require.Equal(t, 24, r.Info().Data.Images)
	st, err := r.Status()
	require.NoError(t, err)
	require.Equal(t, Done, st.State)
	require.EqualValues(t, 3, st.Step)
	ema, step, name, err := r.Weights(-1, "")
	require.NoError(t, err)
	require.EqualValues(t, 3, step)
	require.Equal(t, train.EMAName, name)
	raw, _, name, err := r.Weights(3, train.RawName)
	require.NoError(t, err)
	require.Equal(t, train.RawName, name)
	require.NotEqual(t, ema, raw)
	_, _, _, err = r.Weights(3, "best")
	require.ErrorIs(t, err, model.ErrOption)
	_, _, _, err = r.Weights(4, "")
	require.ErrorIs(t, err, checkpoint.ErrNone)
	recs, err := r.Log()
	require.NoError(t, err)
	require.Len(t, recs, 3)

	// Its status is damaged: it is told, and the run is what its checkpoints say.
	path := filepath.Join(r.Dir, StatusName)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, good[:len(good)/2], 0o600))
	st, err = r.Status()
	require.NoError(t, err)
	require.Equal(t, Done, st.State)
	require.Contains(t, st.Why.String(), "is damaged")
	require.NoError(t, r.Update(func(i *Info) { i.Train.Steps = 4 }))
	st, err = r.Status()
	require.NoError(t, err)
	require.Equal(t, Interrupted, st.State)
	require.NoError(t, os.WriteFile(path, good, 0o600))
	require.ErrorContains(t, r.Update(func(i *Info) { i.Notes = strings.Repeat("x", maxWords+1) }), "shorten them")

	// More steps: it is a stopped run again. The pictures are gone, and it goes on with its own.
	require.NoError(t, r.Update(func(i *Info) { i.Train.Steps = 5 }))
	st, err = r.Status()
	require.NoError(t, err)
	require.Equal(t, Stopped, st.State)
	require.NoError(t, os.RemoveAll(string(r.Info().Data.Path)))
	out, err = r.Train(t.Context(), Options{})
	require.NoError(t, err)
	require.Equal(t, train.Outcome{Step: 5, Done: true}, out)
}

func TestStoppedBeforeItBegan(t *testing.T) {
	r := newRun(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, err := r.Train(ctx, Options{})
	require.NoError(t, err)
	require.Equal(t, train.Outcome{}, out)
	st, err := r.Status()
	require.NoError(t, err)
	require.Equal(t, Stopped, st.State)
}

func TestFailureIsNoted(t *testing.T) {
	r := newRun(t)
	require.NoError(t, os.RemoveAll(string(r.Info().Data.Path)))
	_, err := r.Train(t.Context(), Options{})
	require.ErrorContains(t, err, "does not exist")
	st, err := r.Status()
	require.NoError(t, err)
	require.Equal(t, Failed, st.State)
	require.Contains(t, st.Error, "does not exist")
	require.Equal(t, st.Error, st.Why.String(), "the file keeps what is needed to tell it in any language")
	require.Contains(t, fmt.Sprint(st.Why), r.Info().Data.Path.String())
	require.Contains(t, st.Why.Template, "{{.", "its figures are kept apart")

	path := filepath.Join(r.Dir, StatusName)
	require.NoError(t, os.WriteFile(path, []byte(`{"state":"failed","error":"the disk is full","updated":"2026-01-02T03:04:05Z","step":0,"steps":9}`), 0o600))
	st, err = r.Status()
	require.NoError(t, err)
	require.Equal(t, "the disk is full", st.Why.Or(st.Error).String(), "of a version that kept the English alone")
}

func TestOneProcessTrains(t *testing.T) {
	r := newRun(t)
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), holdEnv+"="+r.Dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)

	st, err := r.Status()
	require.NoError(t, err)
	require.Equal(t, Running, st.State)
	require.Equal(t, cmd.Process.Pid, st.PID)
	_, err = r.Train(t.Context(), Options{})
	var locked *LockedError
	require.ErrorAs(t, err, &locked)
	require.ErrorContains(t, err, fmt.Sprintf("is being trained by process %d", cmd.Process.Pid))
	require.NoError(t, r.Update(func(i *Info) { i.Starred = true }), "it may be annotated meanwhile")

	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	st, err = r.Status()
	require.NoError(t, err)
	require.Equal(t, Interrupted, st.State)
	done, err := r.Train(t.Context(), Options{})
	require.NoError(t, err)
	require.True(t, done.Done)
}

func TestFullDiskIsFoundBefore(t *testing.T) {
	r := newRun(t)
	_, err := r.Train(t.Context(), Options{Free: func(string) (uint64, error) { return 1 << 20, nil }})
	require.ErrorContains(t, err, "the disk is too full for this run")
	require.NoDirExists(t, r.Checkpoints())
	require.NoDirExists(t, filepath.Join(r.Dir, CacheName))
}

// TestCacheStaysInItsPlace holds that run.json cannot send the decoded pictures, what is swept and what is locked to a folder
// of its choice.
func TestCacheStaysInItsPlace(t *testing.T) {
	r := newRun(t)
	ws := filepath.Dir(filepath.Dir(r.Dir))
	docs := filepath.Join(ws, "docs")
	for _, dir := range []string{docs, filepath.Join(ws, "datasets", "mine", "cache-x"), filepath.Join(ws, "datasets", "x")} {
		require.NoError(t, os.MkdirAll(dir, 0o777))
		for _, n := range []string{"cache.bin", "cache.json", ".tmp-cache.bin-0123abcd"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, n), []byte("precious"), 0o600))
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(ws, "datasets", "x", datasets.FileName), []byte("{}"), 0o600))
	require.NoError(t, os.Symlink(docs, filepath.Join(ws, "datasets", "x", "cache-link")))
	require.NoError(t, os.Symlink(docs, filepath.Join(ws, "datasets", "link")))
	require.NoError(t, os.WriteFile(filepath.Join(docs, datasets.FileName), []byte("{}"), 0o600))
	before := files(t, ws, r.Dir)
	for steps, cache := range []string{
		docs, "../../docs", "../../datasets/mine/cache-x", "../../datasets/x/../../docs", "../../datasets/x", "../../datasets/x/cache-link",
		"../../datasets/link/cache-1", "..", "/", "samples",
	} {
		require.NoError(t, r.Update(func(i *Info) { i.Data.Cache, i.Train.Steps = cache, int64(steps+1) }))
		require.Equal(t, filepath.Join(r.Dir, CacheName), r.CacheDir(), cache)
		if steps%3 != 0 { // a training each would take long, and they differ in CacheDir alone
			continue
		}
		_, err := r.Train(t.Context(), Options{})
		require.NoError(t, err, cache)
		require.Equal(t, before, files(t, ws, r.Dir), cache)
	}
	require.NoError(t, os.RemoveAll(filepath.Join(r.Dir, CacheName)))
	require.NoError(t, os.Symlink(docs, filepath.Join(r.Dir, CacheName)))
	require.NoError(t, r.Update(func(i *Info) { i.Train.Steps++ }))
	_, err := r.Train(t.Context(), Options{})
	require.ErrorIs(t, err, durable.ErrOutside)
	require.Equal(t, before, files(t, ws, r.Dir))
}

// files is the content of the files below a folder, but for those below except.
func files(t *testing.T, dir, except string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == except {
			return fs.SkipDir
		}
		out[path] = d.Type().String()
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			out[path] = string(b)
			return err
		}
		return nil
	}))
	return out
}

// TestRunWithoutUsableCheckpointsIsNotBegunAnew holds that a run that was stopped before its first planned checkpoint, and lost
// the one it was stopped with, is not begun anew either, however often that is tried.
func TestRunWithoutUsableCheckpointsIsNotBegunAnew(t *testing.T) {
	r := newRun(t)
	require.NoError(t, r.Update(func(i *Info) { i.Train.Steps, i.Train.LogEvery = 100, 1 }))
	ctx, cancel := context.WithCancel(t.Context())
	out, err := r.Train(ctx, Options{Events: func(e train.Event) {
		if p, ok := e.(train.Progress); ok && p.Step == 2 {
			cancel()
		}
	}})
	require.NoError(t, err)
	require.EqualValues(t, 2, out.Step)
	require.NoError(t, os.RemoveAll(r.Checkpoints()))
	log, err := r.Log()
	require.NoError(t, err)
	require.Len(t, log, 2)
	for range 2 {
		_, err = r.Train(t.Context(), Options{})
		require.ErrorIs(t, err, train.ErrLost)
		require.ErrorContains(t, err, "was trained to step 2")
		after, err := r.Log()
		require.NoError(t, err)
		require.Equal(t, log, after)
		st, err := r.Status()
		require.NoError(t, err)
		require.Equal(t, Failed, st.State)
	}
}

// What stands where a deleted dataset was would keep it from being brought back.
func TestDeletedDatasetIsNotMadeAnew(t *testing.T) {
	r := newRun(t)
	home := filepath.Join(filepath.Dir(filepath.Dir(r.Dir)), "datasets", "x")
	require.NoError(t, os.MkdirAll(home, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(home, datasets.FileName), []byte("{}"), 0o600))
	cache := filepath.Join("..", "..", "datasets", "x", datasets.CachePrefix+"1")
	require.NoError(t, r.Update(func(i *Info) { i.Data.Cache = cache }))
	require.Equal(t, filepath.Join(home, datasets.CachePrefix+"1"), r.CacheDir())
	_, err := r.Train(t.Context(), Options{})
	require.NoError(t, err)
	require.DirExists(t, r.CacheDir())
	require.NoError(t, os.RemoveAll(home))
	pics, err := r.Pictures(t.Context(), Options{})
	require.NoError(t, err)
	require.Equal(t, r.Info().Data.Fingerprint, pics.Fingerprint())
	require.NoError(t, pics.Close())
	require.NoDirExists(t, home)
}

func TestChangedPictures(t *testing.T) {
	r := newRun(t)
	_, err := r.Train(t.Context(), Options{})
	require.NoError(t, err)
	// Dropped pictures are decoded again, and are the same.
	dropped, err := datasets.Drop(r.CacheDir())
	require.NoError(t, err)
	require.True(t, dropped)
	pics, err := r.Pictures(t.Context(), Options{})
	require.NoError(t, err)
	require.Equal(t, r.Info().Data.Fingerprint, pics.Fingerprint())
	dropped, err = datasets.Drop(r.CacheDir())
	require.NoError(t, err)
	require.False(t, dropped, "they are in use")
	require.NoError(t, pics.Close())
	require.NoError(t, r.Update(func(i *Info) { i.Train.Steps = 4 }))
	// The decoded pictures are lost and the folder has changed: it goes on with what there is, and says so.
	require.NoError(t, os.RemoveAll(filepath.Join(r.Dir, CacheName)))
	src := string(r.Info().Data.Path)
	require.NoError(t, demo.Write(t.Context(), src, 28, 2))
	_, err = r.Pictures(t.Context(), Options{})
	require.ErrorIs(t, err, ErrChanged)
	var warned []string
	_, err = r.Train(t.Context(), Options{Events: func(e train.Event) {
		if w, ok := e.(train.Warned); ok {
			warned = append(warned, w.Message.String())
		}
	}})
	require.NoError(t, err)
	require.Len(t, warned, 1)
	require.Contains(t, warned[0], "have changed since the run began")
	// With a class gone it cannot.
	require.NoError(t, r.Update(func(i *Info) { i.Train.Steps = 5 }))
	require.NoError(t, os.RemoveAll(filepath.Join(r.Dir, CacheName)))
	require.NoError(t, os.RemoveAll(filepath.Join(src, demo.Classes()[0])))
	_, err = r.Train(t.Context(), Options{})
	require.ErrorContains(t, err, "now have 3 classes, and this run was made for 4")
}

// What was asked of the newest checkpoint is never done with an older one without a word.
func TestNewestThatCannotBeUsedIsNotPassedOver(t *testing.T) {
	r := newRun(t)
	require.NoError(t, r.Update(func(i *Info) { i.Train.SaveEvery = 1 }))
	_, err := r.Train(t.Context(), Options{})
	require.NoError(t, err)
	require.NoError(t, os.Truncate(filepath.Join(r.Checkpoints(), "000003", "weights.safetensors"), 100))
	_, _, _, err = r.Weights(-1, "")
	require.ErrorContains(t, err, "of step 3, cannot be used")
	require.ErrorContains(t, err, "such as 2")
	_, step, _, err := r.Weights(2, "")
	require.NoError(t, err)
	require.EqualValues(t, 2, step)
}
