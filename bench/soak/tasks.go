package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"unnoise/app/runs"
	"unnoise/app/settings"
	"unnoise/app/studio"
	"unnoise/pipeline/checkpoint"
	"unnoise/pipeline/data"
	"unnoise/pipeline/model"
	"unnoise/pipeline/picture"
	"unnoise/pipeline/train"
	"unnoise/resources/demo"
	"unnoise/runtime/durable"
	"unnoise/runtime/ort"
)

// site is what all kinds of work share.
type site struct {
	dir, program, self string
	pics               string // a folder of pictures
	run                string // a trained run
	model              string // the same as a diffusers pipeline
}

const (
	pictures = 24 // of the dataset
	steps    = 24 // of a training
	drawn    = 24 // pictures of a gallery
)

// prepare makes pictures, a trained run and a model, undisturbed.
func prepare(ctx context.Context, dir, program string) (*site, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir, program: program, self: self, pics: filepath.Join(dir, "pictures"), run: filepath.Join(dir, "run"), model: filepath.Join(dir, "model")}
	if err := os.Setenv("UNNOISE_CONFIG", filepath.Join(dir, "settings.json")); err != nil {
		return nil, err
	}
	if err := ort.InitDefault(ctx); err != nil {
		return nil, err
	}
	if err := demo.Write(ctx, s.pics, pictures, 1); err != nil {
		return nil, err
	}
	if err := s.create(s.run); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"train", "--run", s.run, "--resume"},
		{"export", "--run", s.run, "--format", "diffusers", "--out", s.model},
	} {
		if out, err := s.start(args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return s, nil
}

// create makes a run of a network so small that its steps take milliseconds, which logs and saves often.
func (s *site) create(dir string) error {
	p, err := model.FindPreset("tiny")
	if err != nil {
		return err
	}
	c := train.Defaults(p)
	c.Steps, c.Batch, c.Seed, c.LogEvery, c.SaveEvery, c.SampleEvery, c.SampleCount, c.SampleSteps = steps, 4, 7, 2, 3, 12, 2, 2
	c.EvalImages = 4
	info, err := runs.NewInfo("tiny", model.Options{Preprocess: data.Preprocess{Width: 8, Height: 8, Channels: 3}}, c, runs.Source{Path: durable.Path(s.pics)})
	if err != nil {
		return err
	}
	info.Model.UNet.BlockOutChannels = []int{8, 8, 8}
	_, err = runs.Create(dir, info)
	return err
}

// start is the program with arguments; it uses one core, so that several can run at once.
func (s *site) start(args ...string) *exec.Cmd {
	cmd := exec.Command(s.program, args...) //nolint:gosec // the program that is tried
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "UNNOISE_WORKSPACE=")
	return cmd
}

// itself is this program doing what has no subcommand, in the workspace in dir.
func (s *site) itself(what, dir string) *exec.Cmd {
	cmd := exec.Command(s.self, "-child", what, "-dir", dir) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "UNNOISE_WORKSPACE=", "UNNOISE_CONFIG="+dir+".json")
	return cmd
}

// whole checks a workspace and remembers how much of what there was; less than ever before is a loss.
type whole struct {
	dir                              string
	datasets, models, pictures, runs int
}

func (w *whole) look(ctx context.Context) (*studio.CheckReport, error) {
	rep, err := studio.Check(ctx, w.dir, false, nil)
	if err != nil {
		return nil, err
	}
	if err := findings(rep); err != nil {
		return nil, err
	}
	for _, c := range []struct {
		what     string
		was, now *int
	}{{"datasets", &w.datasets, &rep.Datasets}, {"models", &w.models, &rep.Models}, {"pictures", &w.pictures, &rep.Pictures}, {"runs", &w.runs, &rep.Runs}} {
		if *c.now < *c.was {
			return nil, fmt.Errorf("%s has %d %s and had %d", w.dir, *c.now, c.what, *c.was)
		}
		*c.was = *c.now
	}
	return rep, nil
}

func findings(rep *studio.CheckReport) error {
	var errs []error
	for _, f := range rep.Findings {
		errs = append(errs, fmt.Errorf("%s %s: %w", f.State, f.Path, f.What))
	}
	return errors.Join(errs...)
}

// tree is the content of a file, or of the files of a folder by their names, without temporary ones.
func tree(path string) (map[string]string, error) {
	out := map[string]string{}
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		b, err := os.ReadFile(p) //nolint:gosec // below the folder of this soak
		rel, _ := filepath.Rel(path, p)
		out[rel] = string(b)
		return err
	})
	return out, err
}

// left counts the temporary files below dir.
func left(dir string) (n int) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".tmp-") {
			n++
		}
		return nil
	})
	return n
}

// tasks are all kinds of work, the longest first.
func (s *site) tasks() []*task {
	return []*task{
		s.train(), s.begin(), s.move(), s.sample(), s.export(), s.studioTask("gallery", 10), s.index(),
		s.imports(), s.models(), s.studioTask("trash", 8), s.studioTask("queue", 8), s.studioTask("rebuild", 8),
	}
}

// trained reads what a finished run has that must not depend on how often it was killed.
func trained(dir string, last int64) (map[string]string, error) {
	out := map[string]string{}
	for _, name := range []string{"weights", "ema-ema", "optimizer"} {
		b, err := os.ReadFile(filepath.Join(dir, train.CheckpointDir, fmt.Sprintf("%06d", last), name+".safetensors"))
		if err != nil {
			return nil, err
		}
		out[name] = string(b)
	}
	recs, err := train.ReadLog(filepath.Join(dir, train.LogName))
	if err != nil {
		return nil, err
	}
	for _, r := range recs {
		b, err := json.Marshal([]any{r.Loss, r.Weighted, r.GradNorm, r.LR, r.Levels, r.Train, r.Held})
		if err != nil {
			return nil, err
		}
		key := fmt.Sprintf("log %d", r.Step)
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("the log has two lines of step %d", r.Step)
		}
		out[key] = string(b)
	}
	return out, nil
}

// differ names what differs between two trees.
func differ(want, got map[string]string) error {
	if maps.Equal(want, got) {
		return nil
	}
	var names []string
	for n, v := range want {
		if w, ok := got[n]; !ok {
			names = append(names, n+" is missing")
		} else if v != w {
			names = append(names, n+" has other bytes")
		}
	}
	for n := range got {
		if _, ok := want[n]; !ok {
			names = append(names, n+" is too many")
		}
	}
	slices.Sort(names)
	return errors.New(strings.Join(names, ", "))
}

// train resumes a run that logs and saves often, until it is done; then another is begun.
func (s *site) train() *task {
	t := &task{name: "train", share: 20, dir: filepath.Join(s.dir, "train")}
	n, newest := 0, int64(-1)
	var want map[string]string
	run := func() string { return filepath.Join(t.dir, fmt.Sprintf("%04d-run", n)) }
	t.command = func() (*exec.Cmd, error) {
		if _, err := os.Stat(run()); errors.Is(err, fs.ErrNotExist) {
			if err := s.create(run()); err != nil {
				return nil, err
			}
			newest = -1
		}
		return s.start("train", "--run", run(), "--resume"), nil
	}
	t.look = func(ctx context.Context, done bool) error {
		rep, err := studio.CheckRun(ctx, run(), false, nil)
		if err != nil {
			return err
		}
		if err := findings(rep); err != nil {
			return err
		}
		infos, _, err := checkpoint.List(filepath.Join(run(), train.CheckpointDir))
		if err != nil {
			return err
		}
		now := int64(-1)
		if len(infos) > 0 {
			now = infos[len(infos)-1].Step
		}
		if now < newest {
			return fmt.Errorf("%s stands at step %d and stood at step %d", run(), now, newest)
		}
		newest = now
		recs, err := train.ReadLog(filepath.Join(run(), train.LogName))
		if err != nil {
			return err
		}
		lines := map[int64]bool{}
		for _, r := range recs {
			lines[r.Step] = true
		}
		for step := int64(2); step <= newest; step += 2 {
			if !lines[step] {
				return fmt.Errorf("the log of %s lacks step %d, and there is a checkpoint of step %d", run(), step, newest)
			}
		}
		if !done {
			return nil
		}
		got, err := trained(run(), steps)
		if err != nil {
			return err
		}
		if want == nil {
			want = got
		}
		if err := differ(want, got); err != nil {
			return fmt.Errorf("%s ended otherwise than an undisturbed run: %w", run(), err)
		}
		t.debris += left(run())
		err = os.RemoveAll(run())
		n++
		return err
	}
	return t
}

// begin makes runs from the command line, with the scan and the decoding of the pictures.
func (s *site) begin() *task {
	t := &task{name: "begin", share: 8, dir: filepath.Join(s.dir, "begin")}
	n := 0
	var want map[string]string
	run := func() string { return filepath.Join(t.dir, fmt.Sprintf("%04d-run", n)) }
	t.command = func() (*exec.Cmd, error) {
		if _, err := os.Stat(filepath.Join(run(), runs.InfoName)); err == nil {
			return s.start("train", "--run", run(), "--resume"), nil
		}
		return s.start("train", "--data", s.pics, "--run", run(), "--preset", "tiny", "--size", "8", "--steps", "2", "--batch", "4"), nil
	}
	t.look = func(ctx context.Context, done bool) error {
		if _, err := os.Stat(filepath.Join(run(), runs.InfoName)); err == nil {
			rep, err := studio.CheckRun(ctx, run(), false, nil)
			if err != nil {
				return err
			}
			if err := findings(rep); err != nil {
				return err
			}
		}
		if !done {
			return nil
		}
		got, err := trained(run(), 2)
		if err != nil {
			return err
		}
		if want == nil {
			want = got
		}
		if err := differ(want, got); err != nil {
			return fmt.Errorf("%s ended otherwise than an undisturbed run: %w", run(), err)
		}
		t.debris += left(run())
		err = os.RemoveAll(run())
		n++
		return err
	}
	return t
}

// sample draws pictures into a folder; what a kill left is kept, and the same command draws the rest.
func (s *site) sample() *task {
	t := &task{name: "sample", share: 10, dir: filepath.Join(s.dir, "sample")}
	n := 0
	var want map[string]string
	have := map[string]bool{}
	out := func() string { return filepath.Join(t.dir, fmt.Sprintf("%04d", n)) }
	t.command = func() (*exec.Cmd, error) {
		return s.start("sample", "--run", s.run, "--n", fmt.Sprint(drawn), "--steps", "4", "--out", out()), nil
	}
	t.look = func(_ context.Context, done bool) error {
		got, err := tree(out())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for name := range have {
			if _, ok := got[name]; !ok {
				return fmt.Errorf("%s is gone from %s", name, out())
			}
		}
		for name, content := range got {
			have[name] = true
			if _, err := picture.Verify(filepath.Join(out(), name)); err != nil {
				return err
			}
			if want != nil && want[name] != content {
				return fmt.Errorf("%s in %s is not what it is when nothing is killed", name, out())
			}
		}
		if !done {
			return nil
		}
		if want == nil {
			want = got
		}
		if len(got) != drawn {
			return fmt.Errorf("%s has %d pictures, not %d", out(), len(got), drawn)
		}
		t.debris += left(out())
		err = os.RemoveAll(out())
		n++
		clear(have)
		return err
	}
	return t
}

// export writes each kind of export under names of their own: whole, or not at all.
func (s *site) export() *task {
	t := &task{name: "export", share: 10, dir: filepath.Join(s.dir, "export")}
	formats := []string{"diffusers", "onnx", "grid", "zip", "gif"}
	extensions := map[string]string{"onnx": ".onnx", "grid": ".png", "zip": ".zip", "gif": ".gif"}
	n := 0
	want := map[string]map[string]string{}
	format := func() string { return formats[n%len(formats)] }
	out := func() string {
		return filepath.Join(t.dir, fmt.Sprintf("%s-%04d%s", format(), n, extensions[format()]))
	}
	t.command = func() (*exec.Cmd, error) {
		if err := os.MkdirAll(t.dir, 0o755); err != nil {
			return nil, err
		}
		return s.start("export", "--run", s.run, "--format", format(), "--out", out()), nil
	}
	t.look = func(_ context.Context, done bool) error {
		got, err := tree(out())
		switch {
		case errors.Is(err, fs.ErrNotExist) && !done:
			return nil
		case err != nil:
			return err
		}
		if want[format()] == nil {
			if !done {
				return os.RemoveAll(out()) // nothing to compare it with yet
			}
			want[format()] = got
		}
		if err := differ(want[format()], got); err != nil {
			return fmt.Errorf("%s is neither whole nor missing: %w", out(), err)
		}
		t.debris = left(t.dir)
		err = os.RemoveAll(out())
		n++
		return err
	}
	return t
}

// imports adds one dataset after the other to a workspace.
func (s *site) imports() *task {
	t := &task{name: "import", share: 10, dir: filepath.Join(s.dir, "import")}
	return s.growing(t, func(n int) []string {
		return []string{"datasets", "import", s.pics, "--name", fmt.Sprintf("dataset %d", n), "--workspace", t.dir}
	}, func(w *whole) int { return w.datasets })
}

// models imports one model after the other.
func (s *site) models() *task {
	t := &task{name: "import-model", share: 8, dir: filepath.Join(s.dir, "models")}
	return s.growing(t, func(n int) []string {
		return []string{"import", s.model, "--name", fmt.Sprintf("model %d", n), "--workspace", t.dir}
	}, func(w *whole) int { return w.models })
}

// growing is work that adds one thing to a workspace at a time.
func (s *site) growing(t *task, args func(n int) []string, count func(*whole) int) *task {
	w := &whole{dir: t.dir}
	n := 0
	t.command = func() (*exec.Cmd, error) {
		n++
		return s.start(args(n)...), nil
	}
	t.look = func(ctx context.Context, done bool) error {
		if _, err := os.Stat(filepath.Join(t.dir, "workspace.json")); errors.Is(err, fs.ErrNotExist) && !done && *w == (whole{dir: t.dir}) {
			return nil // ended before the workspace was made; the next start goes on with that
		}
		was := count(w)
		rep, err := w.look(ctx)
		if err != nil {
			return err
		}
		if done && count(w) <= was {
			return fmt.Errorf("what was imported into %s is not there", t.dir)
		}
		t.debris = rep.Debris
		if count(w) >= 12 { // enough: begin with an empty one
			*w = whole{dir: t.dir}
			return os.RemoveAll(t.dir)
		}
		return nil
	}
	return t
}

// index lists the runs of a workspace whose index was removed.
func (s *site) index() *task {
	t := &task{name: "index", share: 8, dir: filepath.Join(s.dir, "index")}
	const many = 40
	t.command = func() (*exec.Cmd, error) {
		if _, err := os.Stat(t.dir); errors.Is(err, fs.ErrNotExist) {
			for i := range many {
				if err := os.MkdirAll(filepath.Join(t.dir, "runs"), 0o755); err != nil {
					return nil, err
				}
				if err := s.create(filepath.Join(t.dir, "runs", fmt.Sprintf("%04d-run", i+1))); err != nil {
					return nil, err
				}
			}
		}
		if t.kills%3 != 0 { // else the index that a kill left is used
			for _, name := range []string{"library.db", "library.db-wal", "library.db-shm"} {
				if err := os.Remove(filepath.Join(t.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return nil, err
				}
			}
		}
		return s.start("runs", "--json", "--workspace", t.dir), nil
	}
	t.look = func(ctx context.Context, _ bool) error { return listed(ctx, t.dir, many) }
	return t
}

// listed requires that the workspace in dir lists n runs.
func listed(ctx context.Context, dir string, n int) error {
	st, err := studio.Attach(ctx, dir)
	if err != nil {
		return err
	}
	list, err := st.Runs.List(ctx, studio.RunFilter{})
	if err = errors.Join(err, st.Close(ctx)); err != nil {
		return err
	}
	if len(list) != n {
		return fmt.Errorf("%s lists %d runs, not %d", dir, len(list), n)
	}
	rep, err := studio.Check(ctx, dir, false, nil)
	if err != nil {
		return err
	}
	return findings(rep)
}

// filled makes a workspace with a dataset, a run, a model and a gallery.
func (s *site) filled(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "runs"), 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(dir, "runs", "0001-run"), os.DirFS(s.run)); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"datasets", "import", s.pics, "--name", "victim", "--workspace", dir},
		{"import", s.model, "--name", "model", "--workspace", dir},
		{"sample", "--run", s.run, "--n", "4", "--steps", "2", "--out", filepath.Join(dir, "galleries", "four")},
	} {
		if out, err := s.start(args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// studioTask is what only the window can do, done by this program: over and over the same in a filled workspace, in which
// all of it must still be whole.
func (s *site) studioTask(name string, share int) *task {
	t := &task{name: name, share: share, dir: filepath.Join(s.dir, name)}
	w := &whole{dir: t.dir}
	t.command = func() (*exec.Cmd, error) {
		if _, err := os.Stat(t.dir); errors.Is(err, fs.ErrNotExist) {
			if err := s.filled(t.dir); err != nil {
				return nil, err
			}
		}
		return s.itself(name, t.dir), nil
	}
	t.look = func(ctx context.Context, _ bool) error {
		if name == "trash" { // what was deleted can be brought back
			if err := restore(ctx, t.dir); err != nil {
				return err
			}
		}
		rep, err := w.look(ctx)
		if err != nil {
			return err
		}
		if rep.Datasets != 1 || rep.Models != 1 || rep.Runs != 1 || rep.Pictures < 4 {
			return fmt.Errorf("%s has %d datasets, %d models, %d runs, %d pictures", t.dir, rep.Datasets, rep.Models, rep.Runs, rep.Pictures)
		}
		t.debris = rep.Debris
		if _, err := settings.Open(t.dir + ".json"); err != nil {
			return err
		}
		if rep.Pictures > 400 {
			*w = whole{dir: t.dir}
			return os.RemoveAll(t.dir)
		}
		return nil
	}
	return t
}

func restore(ctx context.Context, dir string) error {
	st, err := studio.Attach(ctx, dir)
	if err != nil {
		return err
	}
	items, err := st.Trash.List(ctx)
	for _, it := range items {
		err = errors.Join(err, st.Trash.Restore(ctx, it.ID))
	}
	return errors.Join(err, st.Close(ctx))
}

// move takes a workspace from one place to another and back. Where it is, the settings say.
func (s *site) move() *task {
	t := &task{name: "move", share: 8, dir: filepath.Join(s.dir, "move")}
	places := []string{t.dir, t.dir + "-other"}
	where := func() (string, error) {
		st, err := settings.Open(t.dir + ".json")
		if err != nil {
			return "", err
		}
		if dir := st.Get().Workspace; dir != "" {
			return dir, nil
		}
		return places[0], nil
	}
	t.command = func() (*exec.Cmd, error) {
		if _, err := os.Stat(t.dir + ".json"); errors.Is(err, fs.ErrNotExist) && t.kills+t.done == 0 {
			if err := s.filled(t.dir); err != nil {
				return nil, err
			}
		}
		dir, err := where()
		if err != nil {
			return nil, err
		}
		for _, p := range places { // a copy that a kill has left, or what was not removed yet
			if p != dir {
				if err := os.RemoveAll(p); err != nil {
					return nil, err
				}
			}
		}
		return s.itself("move", t.dir), nil
	}
	t.look = func(ctx context.Context, _ bool) error {
		dir, err := where()
		if err != nil {
			return err
		}
		rep, err := studio.Check(ctx, dir, false, nil)
		if err != nil {
			return err
		}
		if err := findings(rep); err != nil {
			return err
		}
		if rep.Datasets != 1 || rep.Models != 1 || rep.Runs != 1 || rep.Pictures < 6 {
			return fmt.Errorf("%s has %d datasets, %d models, %d runs, %d pictures", dir, rep.Datasets, rep.Models, rep.Runs, rep.Pictures)
		}
		t.debris = rep.Debris
		return nil
	}
	return t
}

// work does once what a task needs the studio for.
func work(ctx context.Context, what, dir string) (err error) {
	if err := ort.InitDefault(ctx); err != nil {
		return err
	}
	from := dir
	if what == "move" {
		if st, err := settings.Open(settings.Path()); err == nil && st.Get().Workspace != "" {
			from = st.Get().Workspace
		}
	}
	s, err := studio.Open(ctx, from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	switch what {
	case "move":
		to := dir
		if from == dir {
			to = dir + "-other"
		}
		return s.Workspace.Move(ctx, to, nil)
	case "gallery":
		req, err := s.Galleries.Defaults(ctx, "0001-run")
		if err != nil {
			return err
		}
		req.Count, req.Steps, req.Name = drawn, 4, "drawn"
		_, err = s.Galleries.Create(ctx, req, nil)
		return err
	case "rebuild":
		for range 10 {
			if err := s.Workspace.Rebuild(ctx, nil); err != nil {
				return err
			}
		}
		return nil
	case "trash":
		for range 10 {
			if err := errors.Join(s.Datasets.Delete(ctx, "victim"), s.Runs.Delete(ctx, "0001-run")); err != nil {
				return err
			}
			for range 2 {
				if _, err := s.Trash.Undo(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	case "queue":
		if err := s.Training.Hold(ctx, true); err != nil {
			return err
		}
		req, err := s.Training.Defaults(ctx, "victim", "tiny")
		if err != nil {
			return err
		}
		for i := range 10 {
			id, err := s.Training.Enqueue(ctx, req)
			if err != nil {
				return err
			}
			set := s.Settings.Get()
			set.Threads = i%4 + 1
			if err := errors.Join(s.Settings.Set(ctx, set), s.Runs.SetNotes(ctx, "0001-run", fmt.Sprint("note ", i)), s.Training.Remove(ctx, id)); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("unknown work " + what)
}
