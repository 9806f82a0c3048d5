package studio

import (
	"archive/zip"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/app/events"
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
		case "model":
			ready(n)
			_, err = s.Models.Import(ctx, src, fmt.Sprint("model ", n), nil)
		case "export":
			var first int
			if _, err = fmt.Sscan(os.Getenv("UNNOISE_TEST_FIRST"), &first); err == nil {
				ready(n)
				err = exportAll(ctx, s, src, first+n)
			}
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
			if err = json.Unmarshal([]byte(os.Getenv("UNNOISE_TEST_REQ")), &sreq); err == nil {
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
	dir, folder := prepared(t)
	archive := filepath.Join(t.TempDir(), "pictures.zip")
	f, err := os.Create(archive)
	require.NoError(t, err)
	z := zip.NewWriter(f)
	require.NoError(t, z.AddFS(os.DirFS(folder)))
	require.NoError(t, errors.Join(z.Close(), f.Close()))
	killed, imported := 0, 0
	for i, after := range delays(t) {
		kill(t, "import", dir, after, "UNNOISE_TEST_SRC="+[]string{folder, archive}[i%2])
		s := reopened(t, dir)
		for _, text := range cutShort(t, s) {
			require.Regexp(t, `^Import of “import \d+”: the program ended in the middle of this`, text)
			killed++
		}
		list, err := s.Datasets.List(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(list), imported, "what was imported before stays")
		imported = len(list)
		for _, d := range list { // each one that is there is whole
			require.Equal(t, 60, d.Items)
			_, err := s.Datasets.Items(t.Context(), d.ID, ItemFilter{})
			require.NoError(t, err)
		}
		entries, err := os.ReadDir(filepath.Join(dir, "datasets"))
		require.NoError(t, err)
		require.Len(t, entries, imported, "and nothing else is left")
		require.NoError(t, s.Close(context.Background()))
	}
	if !testing.Short() { // enough of them
		require.Positive(t, killed, "some must have been hit in the middle of it")
	}
}

// exportAll writes the k-th of the exports that there are into dir, under a name of its own.
func exportAll(ctx context.Context, s *Studio, dir string, k int) error {
	keys, err := s.Galleries.Images(ctx, ImageFilter{})
	if err != nil {
		return err
	}
	models, err := s.Models.List(ctx)
	if err != nil {
		return err
	}
	var refs []Ref
	for range 8 {
		for _, key := range keys {
			refs = append(refs, key.Ref)
		}
	}
	frames := make([]*image.RGBA, len(refs))
	for i, r := range refs {
		if frames[i], err = s.Thumbs.Image(ctx, r); err != nil {
			return err
		}
	}
	name := func(ext string) string {
		return filepath.Join(dir, fmt.Sprintf("%s-%d%s", exportKinds[k%len(exportKinds)], k, ext))
	}
	opt := AnimationOptions{FPS: 10, Scale: 4}
	switch kind := exportKinds[k%len(exportKinds)]; kind {
	case "zip":
		return s.Export.Zip(ctx, refs, name(".zip"), PNGOptions{Metadata: true}, nil)
	case "images":
		_, err := s.Export.Images(ctx, refs, name(""), PNGOptions{Metadata: true}, nil)
		return err
	case "sheet":
		return s.Export.Sheet(ctx, refs, name(".png"), SheetOptions{Scale: 4, Labels: true, Metadata: true}, nil)
	case "gif", "apng":
		opt.Format = kind
		return s.Export.Frames(ctx, frames, name("."+kind), opt, nil)
	case "onnx", "diffusers":
		return s.Export.Model(ctx, models[0].ID, -1, "", kind, name(""), nil)
	}
	return errors.New("unknown export")
}

var exportKinds = []string{"zip", "images", "sheet", "gif", "apng", "onnx", "diffusers"}

// tree is the content of a file, or of the files of a folder by their names.
func tree(t *testing.T, path string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	require.NoError(t, filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(path, p)
		out[rel] = string(b)
		return err
	}))
	return out
}

// cutShort is how many notices the studio gives of things that were cut short.
func cutShort(t *testing.T, s *Studio) (texts []string) {
	t.Helper()
	var mu sync.Mutex
	end := make(chan struct{})
	var once sync.Once
	defer s.Subscribe(func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case Notice:
			texts = append(texts, e.Text.String())
		case events.SettingsChanged:
			once.Do(func() { close(end) })
		}
	})()
	s.core.bus.Publish(events.SettingsChanged{}) // comes after all that waited
	<-end
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(texts)
}

func TestKilledWhileExporting(t *testing.T) {
	dir, _ := prepared(t)
	s, err := Open(t.Context(), dir)
	require.NoError(t, err)
	req, err := s.Galleries.Defaults(t.Context(), importUntrained(t, s).ID)
	require.NoError(t, err)
	req.Count, req.Steps = 12, 2
	_, err = s.Galleries.Create(t.Context(), req, nil)
	require.NoError(t, err)
	// What each export is when nothing kills it.
	whole, out := t.TempDir(), t.TempDir()
	want := make(map[string]map[string]string)
	for k, kind := range exportKinds {
		require.NoError(t, exportAll(t.Context(), s, whole, k))
		found, err := filepath.Glob(filepath.Join(whole, kind+"-*"))
		require.NoError(t, err)
		want[kind] = tree(t, found[0])
	}
	require.NoError(t, s.Close(context.Background()))
	killed := 0
	for i := range exportKinds {
		for _, after := range delays(t)[:2] {
			kill(t, "export", dir, 5*after+time.Duration(i)*5*time.Millisecond, "UNNOISE_TEST_SRC="+out, fmt.Sprint("UNNOISE_TEST_FIRST=", i))
			s := reopened(t, dir)
			told := cutShort(t, s)
			entries, err := os.ReadDir(out)
			require.NoError(t, err)
			for _, e := range entries { // what has a name is whole, and nothing else is left
				kind, _, ok := strings.Cut(e.Name(), "-")
				require.True(t, ok && want[kind] != nil, e.Name())
				got := tree(t, filepath.Join(out, e.Name()))
				if kind == "images" { // a folder of files that are whole each
					for name, b := range got {
						require.True(t, b == want[kind][name], "%s/%s", e.Name(), name)
					}
				} else {
					require.True(t, maps.Equal(want[kind], got), e.Name())
				}
				require.NoError(t, os.RemoveAll(filepath.Join(out, e.Name())))
			}
			for _, text := range told {
				require.Contains(t, text, "Export to "+out)
				require.Contains(t, text, "the program ended in the middle of this")
			}
			killed += len(told)
			left, err := os.ReadDir(s.core.env.unfinished())
			require.NoError(t, err)
			require.Empty(t, left)
			require.Empty(t, cutShort(t, s), "it is told once")
			require.NoError(t, exportAll(t.Context(), s, out, i), "it can be exported again")
			require.NoError(t, os.RemoveAll(out))
			require.NoError(t, os.Mkdir(out, 0o777))
			require.NoError(t, s.Close(context.Background()))
		}
	}
	require.Positive(t, killed, "some must have been hit in the middle of it")
}

func TestKilledWhileSamplingOrImportingAModel(t *testing.T) {
	dir, _ := prepared(t)
	s, err := Open(t.Context(), dir)
	require.NoError(t, err)
	m := importUntrained(t, s)
	require.NoError(t, s.Close(context.Background()))
	var id string
	images, models := 0, 1
	for _, after := range delays(t) {
		// What a gallery had is still there, and the same gallery can be filled further.
		req := SampleRequest{Model: m.ID, Checkpoint: -1, Sampler: "ddim", Steps: 2, Clip: true, Count: 100_000, Name: "many", Gallery: id}
		b, err := json.Marshal(req)
		require.NoError(t, err)
		kill(t, "sample", dir, after, "UNNOISE_TEST_REQ="+string(b))
		s = reopened(t, dir)
		told := cutShort(t, s)
		require.Len(t, told, 1)
		require.Contains(t, told[0], "Sampling of the gallery “many”: the program ended in the middle of this")
		gs, err := s.Galleries.List(t.Context())
		require.NoError(t, err)
		require.Len(t, gs, 1)
		require.GreaterOrEqual(t, gs[0].Images, images)
		id, images = gs[0].ID, gs[0].Images
		keys, err := s.Galleries.Images(t.Context(), ImageFilter{Gallery: id})
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(keys), 8)
		for _, k := range keys { // every image that is there is whole
			_, err := s.Thumbs.Image(t.Context(), k.Ref)
			require.NoError(t, err)
		}
		require.NoError(t, s.Close(context.Background()))

		kill(t, "model", dir, 3*after, "UNNOISE_TEST_SRC="+m.Source)
		s = reopened(t, dir)
		for _, text := range cutShort(t, s) {
			require.Regexp(t, `^Import of “model \d+”: the program ended in the middle of this`, text)
		}
		all, err := s.Models.List(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(all), models)
		models = len(all)
		for _, m := range all {
			_, err := s.core.load(t.Context(), m.ID, -1, "")
			require.NoError(t, err)
		}
		for _, kind := range []string{"models", filepath.Join("galleries", id)} {
			left, err := filepath.Glob(filepath.Join(dir, kind, ".tmp-*"))
			require.NoError(t, err)
			require.Empty(t, left)
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

func TestKilledWhileTraining(t *testing.T) {
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
	requireSentence(t, err, "use a newer Unnoise, or choose another workspace")
	newer, ok := errors.AsType[*workspace.NewerError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, 2, newer.Version)
	b, err := os.ReadFile(marker)
	require.NoError(t, err)
	require.Contains(t, string(b), `"version":2`)
}
