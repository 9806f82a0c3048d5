package studio

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"

	"unnoise/app/events"
	"unnoise/app/workspace"
	"unnoise/pipeline/data"
	"unnoise/pipeline/export"
	"unnoise/pipeline/model"
)

// TestMain keeps the tests away from the person's own settings.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "unnoise-studio-test-")
	if err != nil {
		panic(err)
	}
	if os.Getenv("UNNOISE_CONFIG") == "" {
		if err := os.Setenv("UNNOISE_CONFIG", filepath.Join(dir, "settings.json")); err != nil {
			panic(err)
		}
	}
	if child := os.Getenv("UNNOISE_TEST_CHILD"); child != "" {
		runChild(child)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func openStudio(t *testing.T, dir string) *Studio {
	t.Helper()
	s, err := Open(t.Context(), dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close(context.Background())) })
	return s
}

// makePictures makes a folder of n images of 16×16 in two classes, each of another colour.
func makePictures(t testing.TB, dir string, n int) {
	t.Helper()
	for i := range n {
		sub := filepath.Join(dir, []string{"cats", "dogs"}[i%2])
		require.NoError(t, os.MkdirAll(sub, 0o777))
		writeImage(t, filepath.Join(sub, fmt.Sprintf("%04d.png", i)), i)
	}
}

func writeImage(t testing.TB, path string, seed int) {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, 16, 16))
	for y := range 16 {
		for x := range 16 {
			on := (x*(seed%5+1)+y*(seed%7+1)+seed*3)%9 < 4
			c := color.NRGBA{byte(seed * 37), byte(seed * 91), byte(x * 16), 255}
			if on {
				c = color.NRGBA{byte(255 - seed*53), byte(y * 16), byte(seed * 29), 255}
			}
			img.SetNRGBA(x, y, c)
		}
	}
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, img))
	require.NoError(t, f.Close())
}

// recorder keeps the events it saw.
type recorder struct {
	mu   sync.Mutex
	seen []Event
}

func (r *recorder) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, e)
}

func (r *recorder) has(match func(Event) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.seen, match)
}

func record(t *testing.T, s *Studio) *recorder {
	t.Helper()
	r := new(recorder)
	t.Cleanup(s.Subscribe(r.add))
	return r
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	require.Fail(t, "it never came to this: "+what)
}

func TestDatasetLife(t *testing.T) {
	ctx := t.Context()
	s := openStudio(t, filepath.Join(t.TempDir(), "work space “1” 工作"))
	r := record(t, s)
	src := filepath.Join(t.TempDir(), `odd 'names' "here" 🎨`)
	makePictures(t, src, 40)
	require.NoError(t, os.WriteFile(filepath.Join(src, "cats", "broken.png"), []byte("not a picture"), 0o666))
	b, err := os.ReadFile(filepath.Join(src, "cats", "0000.png"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(src, "cats", "copy of 0000.png"), b, 0o666))

	var last Progress
	d, err := s.Datasets.Import(ctx, src, "", func(p Progress) { last = p })
	require.NoError(t, err)
	require.Equal(t, filepath.Base(src), d.Name)
	require.Equal(t, 41, d.Items)
	require.Equal(t, 1, d.Bad)
	require.Len(t, d.Classes, 2)
	require.Positive(t, last.Phase.Template)

	// What it says of bad files and duplicates is true.
	bad, err := s.Datasets.Bad(ctx, d.ID)
	require.NoError(t, err)
	require.Equal(t, "cats/broken.png", bad[0].Name)
	groups, err := s.Datasets.Duplicates(ctx, d.ID)
	require.NoError(t, err)
	var group []int
	for _, g := range groups {
		for _, i := range g {
			if it, err := s.Datasets.Item(ctx, d.ID, i); err == nil && it.Name == "cats/copy of 0000.png" {
				group = g
			}
		}
	}
	require.NotEmpty(t, group)
	require.NoError(t, s.Datasets.KeepOne(ctx, d.ID, group, group[0]))
	items, err := s.Datasets.Items(ctx, d.ID, ItemFilter{})
	require.NoError(t, err)
	require.Len(t, items, 41-len(group)+1)
	after, err := s.Datasets.Duplicates(ctx, d.ID)
	require.NoError(t, err)
	require.Len(t, after, len(groups)-1)
	what, ok := s.Trash.CanUndo()
	require.True(t, ok)
	require.Contains(t, what.String(), "Exclusion")
	_, err = s.Trash.Undo(ctx)
	require.NoError(t, err)
	items, err = s.Datasets.Items(ctx, d.ID, ItemFilter{})
	require.NoError(t, err)
	require.Len(t, items, 41)

	cats, err := s.Datasets.Items(ctx, d.ID, ItemFilter{Class: "cats", Search: "COPY"})
	require.NoError(t, err)
	require.Len(t, cats, 1)
	held, err := s.Datasets.Items(ctx, d.ID, ItemFilter{HeldOut: true})
	require.NoError(t, err)
	require.NotEmpty(t, held)

	// Thumbnails are the picture, enlarged crisply.
	img := thumb(t, s, Ref{Kind: DatasetItem, Owner: d.ID, Index: int(items[0])}, 64)
	require.Equal(t, image.Rect(0, 0, 64, 64), img.Rect)
	whole, err := s.Thumbs.Image(ctx, Ref{Kind: DatasetItem, Owner: d.ID, Index: int(items[0])})
	require.NoError(t, err)
	require.Equal(t, whole.At(3, 5), img.At(3*4+2, 5*4+1))
	require.NotNil(t, thumb(t, s, Ref{Kind: DatasetCover, Owner: d.ID}, 64))

	pre, err := s.Datasets.Preview(ctx, PreviewRequest{Dataset: d.ID, Item: int(items[0]), Preprocess: Preprocess{Width: 8, Height: 8, Channels: 1, Fit: "crop", Flip: true}, Count: 8})
	require.NoError(t, err)
	require.Len(t, pre, 8)
	require.Equal(t, image.Rect(0, 0, 8, 8), pre[0].Image.Rect)
	previewsOf(t, s, d.ID, int(items[0]))

	// Rename, delete, undo.
	long := strings.Repeat("龙", 200)
	require.NoError(t, s.Datasets.Rename(ctx, d.ID, long))
	require.Error(t, s.Datasets.Rename(ctx, d.ID, long+"x"))
	require.Error(t, s.Datasets.Rename(ctx, d.ID, " \t"))
	require.Error(t, s.Datasets.Rename(ctx, d.ID, "a\x00b"))
	require.NoError(t, s.Datasets.Delete(ctx, d.ID))
	list, err := s.Datasets.List(ctx)
	require.NoError(t, err)
	require.Empty(t, list)
	_, err = s.Datasets.Get(ctx, d.ID)
	require.ErrorIs(t, err, fs.ErrNotExist)
	trashed, err := s.Trash.List(ctx)
	require.NoError(t, err)
	require.Len(t, trashed, 1)
	require.Equal(t, long, trashed[0].Name)
	_, err = s.Trash.Undo(ctx)
	require.NoError(t, err)
	list, err = s.Datasets.List(ctx)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, long, list[0].Name)
	waitFor(t, "events", func() bool {
		return r.has(func(e Event) bool { return e == events.DatasetsChanged{Dataset: d.ID} }) && r.has(func(e Event) bool { return e == events.UndoChanged{} })
	})

	// A removed source is told, and a rescan of it changes nothing.
	require.NoError(t, os.Rename(src, src+" moved"))
	list, err = s.Datasets.List(ctx)
	require.NoError(t, err)
	require.True(t, list[0].Missing)
	_, err = s.Datasets.Rescan(ctx, d.ID, nil)
	require.Error(t, err)
	_, err = s.Datasets.RevealPath(ctx, d.ID, 0)
	require.ErrorContains(t, err, "not there now")
	got, err := s.Datasets.Get(ctx, d.ID)
	require.NoError(t, err)
	require.Equal(t, 41, got.Items)
}

// previewsOf requires that each preview is the plain one after what it says was done to it.
func previewsOf(t *testing.T, s *Studio, id string, item int) {
	t.Helper()
	draw := func(augment bool) []PreviewImage {
		out, err := s.Datasets.Preview(t.Context(), PreviewRequest{
			Dataset: id, Item: item, Seed: 3, Count: 64, Preprocess: Preprocess{Width: 16, Height: 16, Channels: 3, Fit: "crop", Flip: augment, Augment: augment},
		})
		require.NoError(t, err)
		return out
	}
	plain := draw(false)[0]
	require.Empty(t, plain.Done())
	var want [2][8]*image.NRGBA // by Flipped and Transform
	for f, img := range []image.Image{plain.Image, imaging.FlipH(plain.Image)} {
		want[f] = [8]*image.NRGBA{
			imaging.Clone(img), imaging.FlipH(img), imaging.FlipV(img), imaging.Rotate180(img),
			imaging.Transpose(img), imaging.Rotate270(img), imaging.Rotate90(img), imaging.Transverse(img),
		}
	}
	seen := map[string]bool{}
	for _, p := range draw(true) {
		f := 0
		if p.Flipped {
			f = 1
		}
		require.Equal(t, want[f][p.Transform].Pix, p.Image.Pix, "flipped %v, transform %d", p.Flipped, p.Transform)
		var words []string
		for _, w := range p.Done() {
			words = append(words, w.String())
		}
		seen[strings.Join(words, ", ")] = true
	}
	require.Contains(t, seen, "")
	require.Contains(t, seen, "mirrored")
	require.Contains(t, seen, "turned right")
	require.Contains(t, seen, "mirrored, turned left")
}

func thumb(t *testing.T, s *Studio, ref Ref, px int) *image.RGBA {
	t.Helper()
	type answer struct {
		img *image.RGBA
		err error
	}
	c := make(chan answer, 1)
	s.Thumbs.Request(ref, px, func(img *image.RGBA, err error) { c <- answer{img, err} })
	a := <-c
	require.NoError(t, a.err)
	return a.img
}

func TestImportRefusesAndCancels(t *testing.T) {
	s := openStudio(t, t.TempDir()+"/ws")
	empty := t.TempDir()
	_, err := s.Datasets.Import(t.Context(), empty, "empty", nil)
	require.Error(t, err)
	_, err = s.Datasets.Import(t.Context(), filepath.Join(empty, "none"), "none", nil)
	require.ErrorContains(t, err, "does not exist")
	_, err = s.Datasets.Import(t.Context(), filepath.Join(s.Workspace.Path(), "runs"), "inside", nil)
	require.ErrorContains(t, err, "lies in the workspace")
	src := t.TempDir()
	makePictures(t, src, 20)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = s.Datasets.Import(ctx, src, "x", func(Progress) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	list, err := s.Datasets.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	left, err := os.ReadDir(filepath.Join(s.Workspace.Path(), "datasets"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// small is a request that trains in seconds.
func small(t *testing.T, s *Studio, dataset, name string, steps int64) TrainRequest {
	t.Helper()
	req, err := s.Training.Defaults(t.Context(), dataset, "tiny")
	require.NoError(t, err)
	req.Name, req.Steps, req.Batch, req.Warmup = name, steps, 4, 5
	req.Preprocess.Width, req.Preprocess.Height = 8, 8
	req.SampleEvery, req.CheckpointEvery, req.KeepLast, req.KeepEvery = 10, 10, 2, 0
	return req
}

// A training that may take so long is measured when it starts, and the number of steps is kept with the run. Nothing is
// measured beside a training: it would slow it down and say little.
func TestTrainingWithinATime(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	ctx := t.Context()
	s := openStudio(t, filepath.Join(t.TempDir(), "ws"))
	src := t.TempDir()
	makePictures(t, src, 40)
	d, err := s.Datasets.Import(ctx, src, "Sprites", nil)
	require.NoError(t, err)
	req := small(t, s, d.ID, "timed", 7)
	req.Within = -1
	problems, err := s.Training.Check(ctx, req)
	require.NoError(t, err)
	require.Len(t, problems, 1)

	req.Within = 3600
	require.NoError(t, s.Training.Start(ctx, req))
	waitFor(t, "training", func() bool { return s.Training.Snapshot().State == JobTraining })
	snap := s.Training.Snapshot()
	set, err := s.Runs.Settings(ctx, snap.Run)
	require.NoError(t, err)
	require.Greater(t, set.Steps, int64(7))
	require.Equal(t, set.Steps, snap.Steps)
	require.Zero(t, set.Within, "it is settled")

	est, err := s.Training.Estimate(ctx, req, false)
	require.NoError(t, err, "it is known")
	require.Equal(t, set.Steps, est.Steps(time.Hour))
	req.Batch = 5
	_, err = s.Training.Estimate(ctx, req, false)
	require.ErrorContains(t, err, "A training runs now")
	require.NoError(t, s.Training.Stop())
	require.NoError(t, s.Training.Wait(ctx))

	// A training that begins ends what is measured.
	measured := make(chan error)
	req.Batch = 40
	go func() {
		_, err := s.Training.Estimate(ctx, req, true)
		measured <- err
	}()
	waitFor(t, "the measurement", func() bool {
		s.core.trials.mu.Lock()
		defer s.core.trials.mu.Unlock()
		return s.core.trials.cancel != nil
	})
	require.NoError(t, s.Training.ContinueRun(ctx, snap.Run, 0))
	require.ErrorIs(t, <-measured, context.Canceled)
	require.NoError(t, s.Training.Stop())
	require.NoError(t, s.Training.Wait(ctx))
}

func TestTrainSampleExport(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "ws")
	s := openStudio(t, dir)
	r := record(t, s)
	src := t.TempDir()
	makePictures(t, src, 40)
	d, err := s.Datasets.Import(ctx, src, "Sprites", nil)
	require.NoError(t, err)

	req := small(t, s, d.ID, "Erste 一", 100_000)
	problems, err := s.Training.Check(ctx, req)
	require.NoError(t, err)
	require.Empty(t, problems)
	est, err := s.Training.Estimate(ctx, req, false)
	require.NoError(t, err)
	require.Positive(t, est.SecondsPerStep)
	require.Positive(t, est.Duration)
	require.Positive(t, est.Memory)
	require.Positive(t, est.Disk)
	require.Positive(t, est.Params)

	// Start, and see it live.
	require.NoError(t, s.Training.Start(ctx, req))
	require.ErrorContains(t, s.Training.Start(ctx, req), "training already")
	waitFor(t, "a first grid", func() bool { return s.Training.Snapshot().GridStep >= 10 })
	snap := s.Training.Snapshot()
	require.Equal(t, "0001-erste-一", snap.Run)
	require.True(t, snap.Busy())
	require.Positive(t, snap.ImagesPerSec)
	require.Positive(t, snap.Loss)

	// Another waits; pause, sample, go on.
	second := small(t, s, d.ID, "Zweite", 10)
	id, err := s.Training.Enqueue(ctx, second)
	require.NoError(t, err)
	require.Len(t, s.Training.Queue(), 1)
	waitFor(t, "a step between two grids", func() bool { return s.Training.Snapshot().Step%10 == 3 })
	require.NoError(t, s.Training.Pause())
	waitFor(t, "the pause", func() bool { return s.Training.Snapshot().State == JobPaused })
	at := s.Training.Snapshot().Step
	run, err := s.Runs.Get(ctx, snap.Run)
	require.NoError(t, err)
	require.Equal(t, RunPaused, run.State)
	require.NoError(t, s.Training.SampleNow())
	waitFor(t, "a grid in the pause", func() bool { return s.Training.Snapshot().GridStep == at })
	waitFor(t, "the pause again", func() bool { return s.Training.Snapshot().State == JobPaused })
	require.Equal(t, at, s.Training.Snapshot().Step)

	// A gallery from the paused run.
	sreq, err := s.Galleries.Defaults(ctx, snap.Run)
	require.NoError(t, err)
	sreq.Count, sreq.Steps, sreq.Seed = 9, 4, 7
	var previews, done int
	guess, err := s.Galleries.Time(ctx, sreq)
	require.NoError(t, err)
	require.Positive(t, guess, "from the speed of the training")
	begun := time.Now()
	g, err := s.Galleries.Create(ctx, sreq, func(p SampleProgress) {
		previews += len(p.Previews)
		done = p.Done
	})
	require.NoError(t, err)
	require.Equal(t, 9, g.Images)
	require.Positive(t, previews)
	require.Equal(t, 9, done)
	took := time.Since(begun)
	require.Equal(t, galleryTitle(run.Name, "", at), g.Name)
	known, err := s.Galleries.Time(ctx, sreq)
	require.NoError(t, err)
	require.Positive(t, known)
	require.LessOrEqual(t, known, took, "that of the last one")
	more := sreq
	more.Count, more.Steps = 2*sreq.Count, 3*sreq.Steps
	larger, err := s.Galleries.Time(ctx, more)
	require.NoError(t, err)
	require.InEpsilon(t, 6*known.Seconds(), larger.Seconds(), 1e-6)

	// Its checkpoint is known; the log and the grids can be read.
	cps, err := s.Runs.Checkpoints(ctx, snap.Run)
	require.NoError(t, err)
	require.Equal(t, at, cps[0].Step)
	points, cursor, reset, err := s.Runs.Log(ctx, snap.Run, 0)
	require.NoError(t, err)
	require.False(t, reset)
	require.NotEmpty(t, points)
	require.True(t, slices.ContainsFunc(points, func(p LogPoint) bool { return len(p.Bins) > 0 }))
	grids, err := s.Runs.Grids(ctx, snap.Run)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(grids), 4)
	require.NotNil(t, thumb(t, s, grids[0].Ref, 200))
	require.NotNil(t, thumb(t, s, Ref{Kind: RunCover, Owner: snap.Run}, 200))

	require.NoError(t, s.Training.Resume())
	waitFor(t, "more of the log", func() bool {
		more, _, reset, err := s.Runs.Log(ctx, snap.Run, cursor)
		return err == nil && !reset && len(more) > 0 && more[0].Step > points[len(points)-1].Step
	})
	require.Error(t, s.Runs.Delete(ctx, snap.Run), "a run that trains is not deleted")

	// Stop: it is saved, and the queue is held.
	require.NoError(t, s.Training.Stop())
	require.NoError(t, s.Training.Wait(ctx))
	run, err = s.Runs.Get(ctx, snap.Run)
	require.NoError(t, err)
	require.Equal(t, RunStopped, run.State)
	require.Greater(t, run.Step, at)
	waitFor(t, "the queue held", func() bool { return s.Training.Snapshot().Held })
	require.Equal(t, JobIdle, s.Training.Snapshot().State)

	// Let the queue go on: the second run is done by itself.
	require.Equal(t, id, s.Training.Queue()[0].ID)
	require.NoError(t, s.Training.Hold(ctx, false))
	waitFor(t, "the second run", func() bool {
		rs, err := s.Runs.List(ctx, RunFilter{State: RunDone})
		return err == nil && len(rs) == 1 && rs[0].Name == "Zweite" && rs[0].Step == 10
	})
	require.NoError(t, s.Training.Wait(ctx))
	require.Empty(t, s.Training.Queue())
	require.ErrorContains(t, s.Training.ContinueRun(ctx, "0002-zweite", 0), "has done its")
	require.NoError(t, s.Training.ContinueRun(ctx, "0002-zweite", 12))
	waitFor(t, "two steps more", func() bool {
		r, err := s.Runs.Get(ctx, "0002-zweite")
		return err == nil && r.State == RunDone && r.Step == 12
	})
	require.NoError(t, s.Training.Wait(ctx))
	for _, match := range []func(Event) bool{
		func(e Event) bool { _, ok := e.(events.LogGrew); return ok },
		func(e Event) bool { _, ok := e.(events.SamplesAdded); return ok },
		func(e Event) bool { _, ok := e.(events.CheckpointSaved); return ok },
		func(e Event) bool {
			n, ok := e.(events.Notice)
			return ok && strings.Contains(n.Text.String(), "is done")
		},
	} {
		waitFor(t, "an event", func() bool { return r.has(match) })
	}

	galleryOf(t, s, g, sreq)
	exportsOf(t, s, g, snap.Run)

	// What the person writes about runs is found again.
	require.NoError(t, s.Runs.SetNotes(ctx, snap.Run, "für später"))
	require.NoError(t, s.Runs.SetTags(ctx, snap.Run, []string{"gut", " ", "gut"}))
	require.NoError(t, s.Runs.Star(ctx, true, snap.Run))
	for _, f := range []RunFilter{{Search: "FÜR später"}, {Tag: "gut"}, {Starred: true}} {
		rs, err := s.Runs.List(ctx, f)
		require.NoError(t, err)
		require.Len(t, rs, 1, "%+v", f)
	}
	clone, err := s.Runs.Settings(ctx, snap.Run)
	require.NoError(t, err)
	require.Equal(t, snap.Run, clone.FromRun)
	clone.FromRun = ""
	require.Equal(t, req, clone)

	// The index is made anew from the folders, with all of this.
	before, err := s.Runs.List(ctx, RunFilter{})
	require.NoError(t, err)
	require.NoError(t, s.Workspace.Rebuild(ctx, nil))
	again, err := s.Runs.List(ctx, RunFilter{})
	require.NoError(t, err)
	require.Len(t, again, len(before))
	for i := range again {
		require.Equal(t, fmt.Sprintf("%+v", before[i]), fmt.Sprintf("%+v", again[i])) // NaN is not equal to itself
	}

	require.NoError(t, s.Runs.Delete(ctx, "0002-zweite"))
	_, err = s.Runs.Get(ctx, "0002-zweite")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = s.Trash.Undo(ctx)
	require.NoError(t, err)
	_, err = s.Runs.Get(ctx, "0002-zweite")
	require.NoError(t, err)
	moveOf(t, s)
}

func galleryOf(t *testing.T, s *Studio, g Gallery, req SampleRequest) {
	t.Helper()
	ctx := t.Context()
	keys, err := s.Galleries.Images(ctx, ImageFilter{Gallery: g.ID})
	require.NoError(t, err)
	require.Len(t, keys, 9)
	info, err := s.Galleries.Info(ctx, keys[3].Ref)
	require.NoError(t, err)
	require.Equal(t, req.Seed, info.Seed)
	require.Equal(t, 3, info.Index)
	require.Equal(t, req.Model, info.Model)
	require.Equal(t, 8, info.Width)
	require.NoError(t, s.Galleries.Star(ctx, true, keys[3].Ref, keys[5].Ref))
	starred, err := s.Galleries.Images(ctx, ImageFilter{Search: "is:starred seed:7 sampler:dpm"})
	require.NoError(t, err)
	require.Len(t, starred, 2)
	use, err := s.Galleries.UseSettings(ctx, keys[3].Ref)
	require.NoError(t, err)
	require.Equal(t, req.Model, use.Model)
	require.Equal(t, req.Steps, use.Steps)

	// The trajectory ends in the very picture.
	steps, err := s.Galleries.Trajectory(ctx, keys[3].Ref, nil)
	require.NoError(t, err)
	require.Len(t, steps, req.Steps+1)
	whole, err := s.Thumbs.Image(ctx, keys[3].Ref)
	require.NoError(t, err)
	requireSame(t, whole, steps[len(steps)-1].Xt)

	walk, err := s.Galleries.Interpolate(ctx, InterpolateRequest{Sample: use, SeedA: 7, IndexA: 3, SeedB: 7, IndexB: 5, Frames: 5}, nil)
	require.NoError(t, err)
	require.Len(t, walk, 5)
	requireSame(t, whole, walk[0])

	near, err := s.Galleries.Nearest(ctx, keys[3].Ref, 3, nil)
	require.NoError(t, err)
	require.Len(t, near, 3)
	require.LessOrEqual(t, near[0].Distance, near[1].Distance)
	require.Equal(t, DatasetItem, near[0].Ref.Kind)
	require.NotNil(t, thumb(t, s, near[0].Ref, 32))
	_, mean, err := s.Galleries.Difference(ctx, keys[3].Ref, keys[3].Ref)
	require.NoError(t, err)
	require.Zero(t, mean)
	_, mean, err = s.Galleries.Difference(ctx, keys[3].Ref, keys[4].Ref)
	require.NoError(t, err)
	require.Positive(t, mean)

	// Deleted and brought back, with its star.
	require.NoError(t, s.Galleries.DeleteImages(ctx, keys[3].Ref, keys[4].Ref))
	left, err := s.Galleries.Images(ctx, ImageFilter{Gallery: g.ID})
	require.NoError(t, err)
	require.Len(t, left, 7)
	_, err = s.Trash.Undo(ctx)
	require.NoError(t, err)
	back, err := s.Galleries.Images(ctx, ImageFilter{Gallery: g.ID, Starred: true})
	require.NoError(t, err)
	require.Len(t, back, 2)
	require.NoError(t, s.Galleries.Rename(ctx, g.ID, "Drachen"))
	require.NoError(t, s.Galleries.Delete(ctx, g.ID))
	gs, err := s.Galleries.List(ctx)
	require.NoError(t, err)
	require.Empty(t, gs)
	_, err = s.Trash.Undo(ctx)
	require.NoError(t, err)
	got, err := s.Galleries.Get(ctx, g.ID)
	require.NoError(t, err)
	require.Equal(t, "Drachen", got.Name)
	require.Equal(t, 2, got.Starred)
}

// importUntrained takes in a model with the weights it would begin with, at 8×8: enough to draw with.
func importUntrained(t *testing.T, s *Studio) Model {
	t.Helper()
	spec, err := model.New("tiny", model.Options{Preprocess: data.Preprocess{Width: 8, Height: 8, Channels: 3}})
	require.NoError(t, err)
	w, err := spec.UNet.Init(1)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "untrained")
	require.NoError(t, export.Diffusers(dir, spec, w))
	m, err := s.Models.Import(t.Context(), dir, "untrained", nil)
	require.NoError(t, err)
	return m
}

// What an image says of itself is enough to make the very same one again.
func TestUseSettingsMakesTheSameImage(t *testing.T) {
	ctx := t.Context()
	s := openStudio(t, filepath.Join(t.TempDir(), "ws"))
	req, err := s.Galleries.Defaults(ctx, importUntrained(t, s).ID)
	require.NoError(t, err)
	req.Steps, req.Seed, req.Count = 3, 5, 67
	pixels := func(ref Ref) []byte {
		img, err := s.Thumbs.Image(ctx, ref)
		require.NoError(t, err)
		return img.Pix
	}
	for _, c := range []struct {
		sampler string
		eta     float64
		clip    bool
	}{{"ddim", 0.7, false}, {"ddim", 0.7, true}, {"dpmpp2m", 0, false}} {
		req.Sampler, req.Eta, req.Clip = c.sampler, c.eta, c.clip
		g, err := s.Galleries.Create(ctx, req, nil)
		require.NoError(t, err)
		keys, err := s.Galleries.Images(ctx, ImageFilter{Gallery: g.ID})
		require.NoError(t, err)
		require.Len(t, keys, 67)
		for _, i := range []int{5, 65} {
			use, err := s.Galleries.UseSettings(ctx, keys[i].Ref)
			require.NoError(t, err)
			require.Equal(t, c.clip, use.Clip)
			use.Count = 8 // as many at once as before; more are not needed here
			again, err := s.Galleries.Create(ctx, use, func(p SampleProgress) {
				if p.First < 0 || p.First >= p.Total {
					t.Errorf("a preview of image %d of %d", p.First, p.Total)
				}
			})
			require.NoError(t, err)
			made, err := s.Galleries.Images(ctx, ImageFilter{Gallery: again.ID})
			require.NoError(t, err)
			last := made[i-use.First].Ref
			info, err := s.Galleries.Info(ctx, last)
			require.NoError(t, err)
			require.Equal(t, i, info.Index)
			require.Equal(t, c.clip, info.Clip)
			require.Equal(t, pixels(keys[i].Ref), pixels(last))
			use.Clip, use.First, use.Count = !use.Clip, i, 1
			other, err := s.Galleries.Create(ctx, use, nil)
			require.NoError(t, err)
			made, err = s.Galleries.Images(ctx, ImageFilter{Gallery: other.ID})
			require.NoError(t, err)
			require.NotEqual(t, pixels(keys[i].Ref), pixels(made[0].Ref), "without the setting it would be another image")
		}
	}
}

func exportsOf(t *testing.T, s *Studio, g Gallery, run string) {
	t.Helper()
	ctx := t.Context()
	out := filepath.Join(t.TempDir(), "export “here”")
	keys, err := s.Galleries.Images(ctx, ImageFilter{Gallery: g.ID})
	require.NoError(t, err)
	var refs []Ref
	for _, k := range keys {
		refs = append(refs, k.Ref)
	}
	for _, metadata := range []bool{true, false} {
		paths, err := s.Export.Images(ctx, refs, out, PNGOptions{Metadata: metadata}, nil)
		require.NoError(t, err)
		require.Len(t, paths, 9)
		b, err := os.ReadFile(paths[0])
		require.NoError(t, err)
		require.Equal(t, metadata, strings.Contains(string(b), "parameters"))
	}
	large, err := s.Export.Images(ctx, refs[:1], filepath.Join(out, "large"), PNGOptions{Metadata: true, Scale: 3}, nil)
	require.NoError(t, err)
	whole, err := s.Thumbs.Image(ctx, refs[0])
	require.NoError(t, err)
	f, err := os.Open(large[0])
	require.NoError(t, err)
	enlarged, err := png.Decode(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, image.Rect(0, 0, 3*whole.Rect.Dx(), 3*whole.Rect.Dy()), enlarged.Bounds())
	for _, p := range []image.Point{{0, 0}, {2, 2}, {10, 7}, {23, 23}} {
		require.Equal(t, whole.At(p.X/3, p.Y/3), color.RGBAModel.Convert(enlarged.At(p.X, p.Y)), "crisp pixels at %v", p)
	}
	_, err = s.Export.Images(ctx, refs[:1], filepath.Join(out, "huge"), PNGOptions{Scale: 1000}, nil)
	requireSentence(t, err, "Choose a scale of up to 64.")
	require.NoError(t, s.Export.Sheet(ctx, refs, filepath.Join(out, "sheet.png"), SheetOptions{Spacing: 2, Scale: 2, Labels: true, Metadata: true}, nil))
	require.ErrorIs(t, s.Export.Sheet(ctx, refs, filepath.Join(out, "sheet.png"), SheetOptions{}, nil), fs.ErrExist)
	require.NoError(t, s.Export.Zip(ctx, refs, filepath.Join(out, "a.zip"), PNGOptions{Metadata: true}, nil))
	frames := make([]*image.RGBA, len(refs))
	for i, r := range refs {
		frames[i], err = s.Thumbs.Image(ctx, r)
		require.NoError(t, err)
	}
	for _, format := range []string{"gif", "apng", "webp"} {
		opt := AnimationOptions{Format: format, FPS: 10, Hold: 1, Scale: 2}
		require.NoError(t, s.Export.Frames(ctx, frames, filepath.Join(out, "walk."+format), opt, nil))
		require.NoError(t, s.Export.TimeLapse(ctx, run, "", filepath.Join(out, "lapse."+format), opt, nil))
	}
	require.Error(t, s.Export.Frames(ctx, frames, filepath.Join(out, "x.mp4"), AnimationOptions{Format: "mp4", FPS: 10}, nil))
	require.NoError(t, s.Export.Model(ctx, run, -1, "", "onnx", filepath.Join(out, "m.onnx"), nil))
	require.NoError(t, s.Export.Model(ctx, run, -1, "raw", "diffusers", filepath.Join(out, "diffusers"), nil))
	require.Equal(t, out, filepath.Dir(s.Export.Suggest("gif", "Mein Lauf/1")))

	// What was exported can be imported, and samples.
	m, err := s.Models.Import(ctx, filepath.Join(out, "diffusers"), "Zurück", nil)
	require.NoError(t, err)
	require.True(t, m.Imported)
	req, err := s.Galleries.Defaults(ctx, m.ID)
	require.NoError(t, err)
	req.Count, req.Steps = 2, 3
	problems, err := s.Galleries.Check(ctx, req)
	require.NoError(t, err)
	require.Empty(t, problems)
	made, err := s.Galleries.Create(ctx, req, nil)
	require.NoError(t, err)
	require.Equal(t, 2, made.Images)
	require.Equal(t, "Zurück", made.Name)
	all, err := s.Models.List(ctx)
	require.NoError(t, err)
	require.Len(t, all, 3)
	require.NoError(t, s.Models.Delete(ctx, m.ID))
	_, err = s.Models.Get(ctx, m.ID)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = s.Trash.Undo(ctx)
	require.NoError(t, err)
	_, err = s.Models.Get(ctx, m.ID)
	require.NoError(t, err)
}

func moveOf(t *testing.T, s *Studio) {
	t.Helper()
	ctx := t.Context()
	old := s.Workspace.Path()
	runs, err := s.Runs.List(ctx, RunFilter{})
	require.NoError(t, err)
	galleries, err := s.Galleries.List(ctx)
	require.NoError(t, err)
	require.ErrorContains(t, s.Workspace.Move(ctx, filepath.Join(old, "sub"), nil), "within")
	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "mine.txt"), []byte("x"), 0o666))
	require.ErrorContains(t, s.Workspace.Move(ctx, full, nil), "mine.txt")
	cctx, cancel := context.WithCancel(ctx)
	to := filepath.Join(t.TempDir(), "neu 新")
	err = s.Workspace.Move(cctx, to, func(Progress) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	require.NoDirExists(t, to)
	require.Equal(t, old, s.Workspace.Path())

	require.NoError(t, s.Workspace.Move(ctx, to, nil))
	require.Equal(t, to, s.Workspace.Path())
	require.NoDirExists(t, old)
	require.Equal(t, to, s.Settings.Get().Workspace)
	now, err := s.Runs.List(ctx, RunFilter{})
	require.NoError(t, err)
	require.Len(t, now, len(runs))
	gs, err := s.Galleries.List(ctx)
	require.NoError(t, err)
	require.Len(t, gs, len(galleries))
	// A run goes on in the new place.
	require.NoError(t, s.Training.ContinueRun(ctx, "0002-zweite", 14))
	require.NoError(t, s.Training.Wait(ctx))
	r, err := s.Runs.Get(ctx, "0002-zweite")
	require.NoError(t, err)
	require.Equal(t, RunDone, r.State)
	require.EqualValues(t, 14, r.Step)
	// And it goes on when its dataset was deleted, which can still be brought back.
	require.NoError(t, s.Datasets.Delete(ctx, r.Dataset))
	require.NoError(t, s.Training.ContinueRun(ctx, "0002-zweite", 16))
	require.NoError(t, s.Training.Wait(ctx))
	r, err = s.Runs.Get(ctx, "0002-zweite")
	require.NoError(t, err)
	require.Equal(t, RunDone, r.State, r.Error)
	require.EqualValues(t, 16, r.Step)
	_, err = s.Trash.Undo(ctx)
	require.NoError(t, err)
	_, err = s.Datasets.Get(ctx, r.Dataset)
	require.NoError(t, err)
}

func TestSecondWindowIsToldWho(t *testing.T) {
	dir := t.TempDir() + "/ws"
	s := openStudio(t, dir)
	_, err := Open(t.Context(), dir)
	locked, ok := errors.AsType[*workspace.LockedError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, os.Getpid(), locked.Holder.PID)
	require.Contains(t, locked.Error(), fmt.Sprint(os.Getpid()))

	// It can call the window that has it, which is told once.
	require.False(t, s.Called())
	require.False(t, locked.Call(t.Context(), 100*time.Millisecond), "nobody answers")
	require.False(t, s.Called(), "and a call that went unanswered is over")
	answered := make(chan bool)
	go func() { answered <- locked.Call(t.Context(), time.Minute) }()
	waitFor(t, "the call", s.Called)
	require.True(t, <-answered)
	require.False(t, s.Called())
	elsewhere := *locked
	elsewhere.Holder.Host += "-other"
	require.False(t, elsewhere.Call(t.Context(), time.Minute), "a window on another computer's screen is of no use")

	// A subcommand may look and queue beside it.
	src := t.TempDir()
	makePictures(t, src, 20)
	d, err := s.Datasets.Import(t.Context(), src, "x", nil)
	require.NoError(t, err)
	a, err := Attach(t.Context(), dir)
	require.NoError(t, err)
	list, err := a.Datasets.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, d.ID, list[0].ID)
	r := record(t, s)
	other := t.TempDir()
	makePictures(t, other, 12)
	byCommand, err := a.Datasets.Import(t.Context(), other, "by a subcommand", nil)
	require.NoError(t, err)
	waitFor(t, "the window to hear of a dataset added elsewhere", func() bool {
		return r.has(func(e Event) bool { return e == events.DatasetsChanged{Dataset: byCommand.ID} })
	})
	require.NoError(t, s.Training.Hold(t.Context(), true))
	_, err = a.Training.Enqueue(t.Context(), small(t, a, d.ID, "from elsewhere", 10))
	require.NoError(t, err)
	waitFor(t, "the window to see it", func() bool { return len(s.Training.Queue()) == 1 })
	require.Error(t, a.Training.Start(t.Context(), small(t, a, d.ID, "now", 10)))
	require.Error(t, a.Workspace.Move(t.Context(), t.TempDir()+"/x", nil))
	require.NoError(t, a.Close(context.Background()))
	_, err = Open(t.Context(), dir)
	require.Error(t, err, "the one who attached did not take the lock away")
}

func TestQueueSurvivesAndIsHeld(t *testing.T) {
	dir := t.TempDir() + "/ws"
	src := t.TempDir()
	makePictures(t, src, 20)
	s, err := Open(t.Context(), dir)
	require.NoError(t, err)
	d, err := s.Datasets.Import(t.Context(), src, "x", nil)
	require.NoError(t, err)
	require.NoError(t, s.Training.Hold(t.Context(), true))
	var ids []string
	for i := range 3 {
		id, err := s.Training.Enqueue(t.Context(), small(t, s, d.ID, fmt.Sprint("run ", i), 10))
		require.NoError(t, err)
		ids = append(ids, id)
	}
	require.NoError(t, s.Training.Reorder(t.Context(), ids[2], 0))
	require.NoError(t, s.Training.Remove(t.Context(), ids[0]))
	require.Error(t, s.Training.Remove(t.Context(), ids[0]))
	order := func() (got []string) {
		for _, e := range s.Training.Queue() {
			got = append(got, e.ID)
		}
		return got
	}
	require.Equal(t, []string{ids[2], ids[1]}, order())
	_, err = s.Trash.Undo(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{ids[2], ids[0], ids[1]}, order())
	require.NoError(t, s.Close(t.Context()))

	s = openStudio(t, dir)
	waitFor(t, "the queue", func() bool { return len(s.Training.Queue()) == 3 })
	require.Equal(t, []string{ids[2], ids[0], ids[1]}, order())
	require.True(t, s.Training.Snapshot().Held)
	require.Equal(t, "run 2", s.Training.Queue()[0].Request.Name)
}

func TestFieldsReadWhatTheyWrite(t *testing.T) {
	s := openStudio(t, t.TempDir()+"/ws")
	src := t.TempDir()
	makePictures(t, src, 20)
	d, err := s.Datasets.Import(t.Context(), src, "x", nil)
	require.NoError(t, err)
	req, err := s.Training.Defaults(t.Context(), d.ID, "")
	require.NoError(t, err)
	for _, f := range s.Training.Fields() {
		require.NotEmpty(t, f.Help.Template, f.Key)
		require.NotEmpty(t, f.Label.Template, f.Key)
		was := f.Get(req)
		changed := req
		require.NoError(t, f.Set(&changed, was), f.Key)
		require.Equal(t, req, changed, f.Key)
		require.Error(t, f.Set(&changed, "nonsense"), f.Key)
		require.Equal(t, req, changed, f.Key)
		for _, c := range f.Choices {
			require.NoError(t, f.Set(&changed, c.Value), f.Key)
			require.Equal(t, c.Value, f.Get(changed))
		}
	}
	require.True(t, s.Training.Presets()[0].Default)
	for _, c := range []struct {
		field  string
		change func(*TrainRequest)
	}{
		{"dataset", func(r *TrainRequest) { r.Dataset = "" }},
		{"dataset", func(r *TrainRequest) { r.Dataset = "../../etc" }},
		{"width", func(r *TrainRequest) { r.Preprocess.Width = 13 }},
		{"batch", func(r *TrainRequest) { r.Batch = 1000 }},
		{"name", func(r *TrainRequest) { r.Name = "" }},
		{"lr", func(r *TrainRequest) { r.LR = -1 }},
		{"preset", func(r *TrainRequest) { r.Preset = "enormous" }},
		{"channels", func(r *TrainRequest) { r.Preprocess.Channels = 2 }},
		{"objective", func(r *TrainRequest) { r.Objective = "size of the batch" }},
		{"schedule", func(r *TrainRequest) { r.Schedule = "learning rate" }},
		{"weighting", func(r *TrainRequest) { r.Weighting = "batch" }},
		{"steps", func(r *TrainRequest) { r.Steps = 0 }},
		{"sample_every", func(r *TrainRequest) { r.SampleEvery = -1 }},
		{"checkpoint_every", func(r *TrainRequest) { r.CheckpointEvery = 0 }},
	} {
		bad := req
		c.change(&bad)
		problems, err := s.Training.Check(t.Context(), bad)
		require.NoError(t, err)
		require.NotEmpty(t, problems, c.field)
		require.Equal(t, c.field, problems[0].Field, "%s", problems[0].Text)
		_, err = s.Training.Enqueue(t.Context(), bad)
		require.Error(t, err)
	}
}

// requireSame allows one step in 255: the network's sums differ in their last bits with the size of the batch.
func requireSame(t *testing.T, want, got *image.RGBA) {
	t.Helper()
	require.Equal(t, want.Rect, got.Rect)
	for i := range want.Pix {
		require.InDelta(t, want.Pix[i], got.Pix[i], 1, "at %d", i)
	}
}

// A gallery without a name of its own says what its pictures are of.
func TestTitlesOfGalleries(t *testing.T) {
	for want, c := range map[string]struct {
		model, class string
		checkpoint   int64
	}{
		"Demo · fish · step 200": {"Demo", "fish", 200},
		"Demo · step 200":        {"Demo", "", 200},
		"cats · tabby":           {"cats", "tabby", 0},
		"cats":                   {"cats", "", 0},
	} {
		require.Equal(t, want, galleryTitle(c.model, c.class, c.checkpoint))
	}
	for _, odd := range []string{strings.Repeat("长", workspace.MaxName), strings.Repeat("a", 10_000), "a\x1b[31m\nb", "\xff"} {
		name := galleryTitle(odd, odd, math.MaxInt64)
		clean, err := workspace.CleanName(name)
		require.NoError(t, err)
		require.Equal(t, name, clean)
		require.Contains(t, name, " · step 9223372036854775807")
	}
}
