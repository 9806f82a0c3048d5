package e2e

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
)

// place is where one life of the program keeps its things: nothing of the user's is touched.
type place struct {
	workspace string
	env       []string
}

func newPlace(t *testing.T) place {
	t.Helper()
	dir := t.TempDir()
	ws := filepath.Join(dir, "work space “1”")
	return place{workspace: ws, env: []string{
		"UNNOISE_WORKSPACE=" + ws, "UNNOISE_CONFIG=" + filepath.Join(dir, "settings.json"), "XDG_CONFIG_HOME=" + filepath.Join(dir, "config"),
	}}
}

// look reads the workspace as a subcommand does, beside the window.
func (p place) look(t *testing.T, ask func(ctx context.Context, st *studio.Studio)) {
	t.Helper()
	t.Setenv("UNNOISE_CONFIG", filepath.Join(filepath.Dir(p.workspace), "settings.json"))
	ctx := context.Background()
	st, err := studio.Attach(ctx, p.workspace)
	require.NoError(t, err)
	ask(ctx, st)
	require.NoError(t, st.Close(ctx))
}

func (p place) runs(t *testing.T) (out []studio.Run) {
	t.Helper()
	p.look(t, func(ctx context.Context, st *studio.Studio) {
		var err error
		out, err = st.Runs.List(ctx, studio.RunFilter{})
		require.NoError(t, err)
	})
	return out
}

// grids counts the sample grids of the one run.
func (p place) grids(t *testing.T) (n int) {
	t.Helper()
	p.look(t, func(ctx context.Context, st *studio.Studio) {
		runs, err := st.Runs.List(ctx, studio.RunFilter{})
		require.NoError(t, err)
		if len(runs) == 1 {
			g, err := st.Runs.Grids(ctx, runs[0].ID)
			require.NoError(t, err)
			n = len(g)
		}
	})
	return n
}

func (p place) galleries(t *testing.T) (out []studio.Gallery) {
	t.Helper()
	p.look(t, func(ctx context.Context, st *studio.Studio) {
		var err error
		out, err = st.Galleries.List(ctx)
		require.NoError(t, err)
	})
	return out
}

// pictures are the files of the one gallery.
func (p place) pictures(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.workspace, "galleries", "*", "*.png"))
	require.NoError(t, err)
	for _, f := range files {
		names = append(names, filepath.Base(f))
	}
	return names
}

var stepOf = regexp.MustCompile(`step ([0-9,]+) of `)

// step is how far the status bar says the training has come, or −1.
func (w *window) step() int64 {
	for _, n := range w.see().Nodes {
		if m := stepOf.FindStringSubmatch(n.Text); m != nil {
			step, err := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
			require.NoError(w.t, err)
			return step
		}
	}
	return -1
}

// sprites writes small pictures into a folder with a space in its name.
func sprites(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "my sprites")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for i := range n {
		img := image.NewRGBA(image.Rect(0, 0, 16, 16))
		for y := range 16 {
			for x := range 16 {
				c := color.RGBA{uint8(20 + i*7), uint8(200 - i*5), uint8(90 + x*6), 255}
				if dx, dy := x-8, y-8; dx*dx+dy*dy < 9+i%25 {
					c = color.RGBA{uint8(250 - i*6), uint8(40 + y*9), uint8(i * 9), 255}
				}
				img.SetRGBA(x, y, c)
			}
		}
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("sprite %02d.png", i)))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, img))
		require.NoError(t, f.Close())
	}
	return dir
}

func TestFirstStartWithoutTheRuntimeLibrary(t *testing.T) {
	if testing.Short() {
		t.Skip("drives a real window")
	}
	display := screen(t)
	p := newPlace(t)
	w := start(t, display, append(p.env, "UNNOISE_ORT_LIB="+filepath.Join(t.TempDir(), "none.so"), "XDG_CACHE_HOME="+t.TempDir())...)
	w.wait("Try the demo", soon)
	w.settle()
	w.shot("first-start")
	require.True(t, w.shows("Nothing is downloaded before you say so."))
	w.click("button", "Install…")
	w.wait("Install the runtime library?", soon)
	w.settle()
	w.shot("install-runtime")
	w.key("Escape")
	w.until("the dialog to close", soon, func() bool { return !w.shows("Install the runtime library?") })
	w.close()
	w.gone(soon)
}

// TestTheWholeWay goes the way of a new user: import, train, stop, continue, sample, star, export, delete, undo, quit during
// training, start again, and start again after a kill.
// A screen that cannot be reached is told in one sentence, and leaves the workspace free.
func TestNoSuchScreen(t *testing.T) {
	if testing.Short() {
		t.Skip("drives a real window")
	}
	display := screen(t)
	p := newPlace(t)
	w := launch(t, ":59999", p.env...)
	require.Error(t, <-w.ended)
	require.Equal(t, 1, w.cmd.ProcessState.ExitCode())
	require.Contains(t, w.log.String(), `unnoise: the window cannot be opened on the screen ":59999"`)
	require.NotContains(t, w.log.String(), "goroutine ")

	w = start(t, display, p.env...)
	w.close()
	w.gone(soon)
}

func TestTheWholeWay(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for minutes in a real window")
	}
	display := screen(t)
	p := newPlace(t)
	pictures := sprites(t, 48)
	w := start(t, display, p.env...)
	w.wait("Try the demo", soon)

	// Import a folder.
	w.open("datasets")
	w.click("button", "Import…")
	w.fill(w.entry("Folder, zip or IDX file"), pictures)
	w.click("button", "Import")
	w.wait("48 images", soon)
	w.until("the thumbnails", soon, func() bool { return len(w.images(60)) >= 12 })
	w.settle()
	w.shot("dataset")
	p.look(t, func(ctx context.Context, st *studio.Studio) {
		sets, err := st.Datasets.List(ctx)
		require.NoError(t, err)
		require.Len(t, sets, 1)
		require.Equal(t, []any{pictures, 48, 0}, []any{string(sets[0].Source), sets[0].Items, sets[0].Bad})
	})

	// Train on it, and watch the first samples.
	w.click("button", "Train on it")
	w.until("the Train page", soon, func() bool { return w.see().Page == "train" })
	w.click("text", "Tiny")
	w.settle()
	w.shot("train-setup")
	w.fill(w.beside("Steps"), "400")
	w.click("button", "Start")
	w.wait("Training · my sprites · step ", long)
	w.click("button", "Sample now")
	w.until("the first samples", long, func() bool { return p.grids(t) > 0 })
	w.settle()
	w.shot("training")
	w.open("home")
	w.wait("Watch it learn", soon)
	w.settle()
	w.shot("home-training")
	w.key("Escape")
	require.False(t, w.shows("Stopping…"), "Escape never stops a run")

	// Stop.
	w.open("train")
	w.click("button", "Stop")
	w.until("the stop", long, func() bool { return w.shows("No training is running") })
	runs := p.runs(t)
	require.Len(t, runs, 1)
	require.Equal(t, studio.RunStopped, runs[0].State)
	stopped := runs[0].Step
	require.Positive(t, stopped)

	// Continue it.
	w.open("runs")
	w.click("text", runs[0].Name)
	w.click("button", "Continue")
	w.until("more steps", long, func() bool {
		r := p.runs(t)
		return len(r) == 1 && r[0].State == studio.RunRunning
	})
	w.open("train")
	w.until("steps beyond those", long, func() bool { return w.step() > stopped })

	// Quit during training: first cancel, then save and quit.
	w.close()
	w.wait("Close the window?", soon)
	w.settle()
	w.shot("closing")
	w.key("Escape")
	w.until("the dialog to close", soon, func() bool { return !w.shows("Close the window?") })
	w.close()
	w.wait("Close the window?", soon)
	w.click("button", "Save and quit")
	w.gone(long)
	runs = p.runs(t)
	require.Equal(t, studio.RunStopped, runs[0].State)
	require.Greater(t, runs[0].Step, stopped, "what was trained since is saved")

	// Start again and sample a gallery.
	w = start(t, display, p.env...)
	w.wait("Recent runs", soon)
	w.open("gallery")
	w.click("button", "New gallery")
	w.wait("While the pictures are sampled", soon)
	w.settle()
	w.fill(w.beside("Steps"), "5")
	w.fill(w.beside("Pictures"), "6")
	w.click("button", "Sample")
	w.until("the gallery", long, func() bool {
		g := p.galleries(t)
		return len(g) == 1 && g[0].Images == 6
	})
	w.settle()
	if b, ok := w.find("button", "Close"); ok && b.Overlay {
		w.clickAt(b)
	}
	w.until("the pictures", soon, func() bool { return len(w.images(60)) >= 6 })
	w.settle()
	w.shot("gallery")

	// Star one.
	w.clickAt(w.images(60)[1])
	w.key("period")
	w.until("the star", soon, func() bool { return p.galleries(t)[0].Starred == 1 })

	// Export all.
	out := filepath.Join(t.TempDir(), "out")
	w.key("ctrl+a")
	w.click("button", "Export…")
	w.until("the export dialog", soon, func() bool { _, ok := w.find("button", "Export"); return ok && w.shows("Save as") })
	w.settle()
	w.fill(w.beside("Save as"), out)
	w.shot("export")
	w.click("button", "Export")
	w.until("the files", soon, func() bool {
		files, err := filepath.Glob(filepath.Join(out, "*.png"))
		return err == nil && len(files) == 6
	})
	files, err := filepath.Glob(filepath.Join(out, "*.png"))
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		img, err := png.Decode(bytes.NewReader(b))
		require.NoError(t, err, f)
		require.Equal(t, image.Pt(16, 16), img.Bounds().Size())
		require.Contains(t, string(b), "Steps: 5, Sampler: ", "it says how it was made")
	}

	// Delete one and bring it back.
	before := p.pictures(t)
	require.Len(t, before, 6)
	w.clickAt(w.images(60)[0])
	w.key("Delete")
	w.until("the deletion", soon, func() bool { return p.galleries(t)[0].Images == 5 })
	require.Len(t, p.pictures(t), 5)
	w.shot("deleted")
	w.key("ctrl+z")
	w.until("the undo", soon, func() bool { return p.galleries(t)[0].Images == 6 })
	require.Equal(t, 1, p.galleries(t)[0].Starred)
	require.Equal(t, before, p.pictures(t))

	// Twenty switches leave nothing behind.
	pages := []string{"home", "datasets", "train", "runs", "gallery", "models", "settings"}
	for _, id := range pages {
		w.open(id)
		w.settle()
		w.shot("page-" + id)
	}
	w.leaks(pages)

	// A kill in the midst of training: the next start says so and offers to go on.
	w.open("runs")
	w.click("text", runs[0].Name)
	w.click("button", "Continue")
	w.until("the run", long, func() bool { return w.shows("Training · ") })
	w.kill()
	w = start(t, display, p.env...)
	w.wait("Continue?", soon)
	w.settle()
	w.shot("after-a-crash")
	require.Equal(t, 6, p.galleries(t)[0].Images, "what was finished is still there")
	w.click("button", "Continue")
	w.until("the run", long, func() bool { return w.see().Page == "train" && w.step() >= runs[0].Step })
	w.close()
	w.wait("Close the window?", soon)
	w.click("button", "Save and quit")
	w.gone(long)
	require.Equal(t, studio.RunStopped, p.runs(t)[0].State)
}

// leaks switches pages twenty times and more and fails when goroutines or memory are left behind.
func (w *window) leaks(pages []string) {
	w.t.Helper()
	least := func() (goroutines int, heap int64) { // of a few looks: what is under way at the moment is no leak
		goroutines, heap = math.MaxInt, math.MaxInt64
		for range 2 {
			d := w.collected()
			goroutines, heap = min(goroutines, d.Goroutines), min(heap, int64(d.Heap))
		}
		return goroutines, heap
	}
	goroutines, heap := least()
	for i := range 3 * len(pages) {
		id := pages[i%len(pages)]
		w.x("key", "ctrl+"+strconv.Itoa(i%len(pages)+1))
		w.until("page "+id, soon, func() bool { return w.see().Page == id })
	}
	g, h := least()
	w.t.Logf("%d switches: goroutines %d → %d, memory %.1f → %.1f MB", 3*len(pages), goroutines, g, float64(heap)/1e6, float64(h)/1e6)
	require.LessOrEqual(w.t, g, goroutines+2, "goroutines are left behind") // one a visit to one page makes three
	require.Less(w.t, h-heap, int64(8<<20), "memory is left behind")
}

// TestDemo clicks once, waits for the first samples and lets the run go on without the window.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("trains in a real window")
	}
	display := screen(t)
	p := newPlace(t)
	w := start(t, display, append(p.env, "FYNE_THEME=dark")...)
	w.wait("Try the demo", soon)
	w.click("button", "Try the demo")
	w.until("the Train page", long, func() bool { return w.see().Page == "train" })
	w.wait("Training · Demo", long)
	w.click("button", "Sample now")
	w.until("the first samples", long, func() bool { return p.grids(t) > 0 })
	w.settle()
	w.shot("demo")

	// The window closes and the run goes on; starting the program again brings it back. A polite kill then saves the run.
	w.close()
	w.wait("Close the window?", soon)
	w.click("button", "Keep running")
	w.until("the window to hide", soon, func() bool { return !w.visible() })
	step := p.runs(t)[0].Step
	w.until("more steps", long, func() bool { return p.runs(t)[0].Step > step })
	w.until("the window to come back", long, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		again := exec.CommandContext(ctx, w.cmd.Path)
		again.Env = w.cmd.Env
		return again.Run() == nil && w.visible() // and not a window of its own, which would stay
	})
	require.NoError(t, w.cmd.Process.Signal(syscall.SIGTERM))
	w.gone(long)
	require.Equal(t, studio.RunStopped, p.runs(t)[0].State)
}

// TestChineseDarkAndLarge opens every page in Chinese, dark and at 200 %, for the eye; the log must not miss a text.
func TestChineseDarkAndLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("drives a real window")
	}
	display := screen(t)
	p := newPlace(t)
	w := launch(t, display, append(p.env, "LANG=zh_CN.UTF-8", "FYNE_THEME=dark", "FYNE_SCALE=2")...)
	w.until("the window", soon, w.visible)
	w.until("the first page", soon, func() bool { return w.see().Page != "" })
	w.until("the focus", soon, func() bool { _, err := w.try("windowfocus", w.id); return err == nil })
	w.x("windowmove", w.id, "0", "0")
	w.x("windowsize", w.id, "1440", "900")
	w.wait("打开文件夹", soon)
	w.open("datasets")
	w.click("button", "导入…")
	w.fill(w.entry("文件夹、zip 或 IDX 文件"), sprites(t, 40))
	w.click("button", "导入")
	w.wait("40 张图片", soon)
	for _, id := range []string{"datasets", "home", "train", "runs", "gallery", "models", "settings"} {
		w.open(id)
		w.settle()
		w.shot("zh-dark-200-" + id)
	}
	w.close()
	w.gone(soon)
	require.NotContains(t, w.log.String(), "Translation failure")
}
