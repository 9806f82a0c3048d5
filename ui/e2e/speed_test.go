//go:build !race

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
)

// all asks for the measurements that take minutes, too.
var all = flag.Bool("speed", false, "measure also what takes minutes: galleries of 100,000 files, and what the window costs a training")

// idx writes an IDX file of n random pictures of 16 by 16 in grey.
func idx(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "large-images-idx3-ubyte")
	f, err := os.Create(path)
	require.NoError(t, err)
	w := bufio.NewWriter(f)
	require.NoError(t, binary.Write(w, binary.BigEndian, []uint32{0x803, uint32(n), 16, 16}))
	r := rand.NewChaCha8([32]byte{1})
	picture := make([]byte, 256)
	for range n {
		_, _ = r.Read(picture)
		_, err = w.Write(picture)
		require.NoError(t, err)
	}
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())
	return path
}

// resident is the memory of the window's process in bytes.
func (w *window) resident() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	require.NoError(w.t, err)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			require.NoError(w.t, err)
			return kb << 10
		}
	}
	return 0
}

// load is what a piece asked of the UI thread and of the machine.
type load struct {
	frames
	window, screen time.Duration // processor time of the window's process with the driver's threads, and of the screen's
}

func (l load) String() string {
	per := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / float64(max(l.N, 1)) }
	return fmt.Sprintf("%v; processor time per frame: window with graphics driver %.1f ms, screen %.1f ms", l.frames, per(l.window), per(l.screen))
}

// spent is the processor time of a process.
func spent(t *testing.T, pid int) time.Duration {
	_, d := stat(t, fmt.Sprintf("/proc/%d/stat", pid))
	return d
}

// ran is the processor time of all threads of a process, finer than spent.
func ran(t *testing.T, pid int) (sum time.Duration) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	require.NoError(t, err)
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		ns, _, _ := strings.Cut(string(b), " ")
		n, err := strconv.ParseInt(ns, 10, 64)
		require.NoError(t, err)
		sum += time.Duration(n)
	}
	return sum
}

// stat reads name and processor time of a process or thread.
func stat(t *testing.T, path string) (name string, d time.Duration) {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	lo, hi := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[hi+1:])) // from the state on, which is field 3 of proc(5)
	var ticks time.Duration
	for _, s := range f[11:13] { // utime, stime
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		ticks += time.Duration(n)
	}
	return string(b[lo+1 : hi]), ticks * 10 * time.Millisecond
}

// threads is the processor time of the window's process: of the UI thread, of the graphics driver's threads, and of all
// others.
func threads(t *testing.T, pid int) map[string]time.Duration {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	require.NoError(t, err)
	out := map[string]time.Duration{}
	for _, path := range paths {
		name, d := stat(t, path)
		switch {
		case path == fmt.Sprintf("/proc/%d/task/%d/stat", pid, pid):
			name = "UI"
		case strings.HasPrefix(name, "llvmpipe"):
			name = "graphics"
		default:
			name = "other"
		}
		out[name] += d
	}
	return out
}

// busy runs a piece and returns what it asked of the UI thread. With the environment variable UNNOISE_SPEED_PROFILES it
// keeps a CPU profile of the window in that folder.
func (w *window) busy(name string, piece func()) load {
	w.t.Helper()
	profiles := os.Getenv("UNNOISE_SPEED_PROFILES")
	if profiles != "" {
		require.NoError(w.t, os.WriteFile(w.dump+".profile", nil, 0o600))
		time.Sleep(600 * time.Millisecond)
	}
	require.NoError(w.t, os.WriteFile(w.dump+".reset", nil, 0o600))
	w.until("the reset", soon, func() bool { _, err := os.Stat(w.dump + ".reset"); return err != nil })
	own, screen := spent(w.t, w.cmd.Process.Pid), spent(w.t, servers[w.display])
	piece()
	time.Sleep(600 * time.Millisecond)
	d := w.see()
	own, screen = spent(w.t, w.cmd.Process.Pid)-own, spent(w.t, servers[w.display])-screen
	if profiles != "" {
		require.NoError(w.t, os.Remove(w.dump+".profile"))
		w.until("the profile", soon, func() bool { return os.Rename(w.dump+".cpu", filepath.Join(profiles, name+".pprof")) == nil })
	}
	return load{d.Frames, own, screen}
}

// after measures how long it takes from an action until something shows, to within the 25 ms between two dumps.
func (w *window) after(act func(), shows func() bool) time.Duration {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(w.dump+".haste", nil, 0o600))
	time.Sleep(300 * time.Millisecond)
	began := time.Now()
	act()
	for !shows() {
		if time.Since(began) > soon {
			w.t.Fatal("waited in vain")
		}
		time.Sleep(5 * time.Millisecond)
	}
	d := time.Since(began)
	require.NoError(w.t, os.Remove(w.dump+".haste"))
	return d
}

// tap clicks at once.
func (w *window) tap(n node) {
	w.x("mousemove", strconv.Itoa(int(n.X+n.W/2)), strconv.Itoa(int(n.Y+n.H/2)), "click", "--delay", "0", "1")
}

// page opens a page and returns how long it took to show.
func (w *window) page(id string) time.Duration {
	n, ok := w.find("rail", id)
	require.True(w.t, ok)
	return w.after(func() { w.tap(n) }, func() bool { return w.see().Page == id })
}

// scroll turns the wheel 400 times over the pictures, faster than a hand does, and leafs through 100 pages of them.
func (w *window) scroll(what string) {
	w.t.Helper()
	w.settle()
	at := w.images(60)[5]
	w.x("mousemove", strconv.Itoa(int(at.X)), strconv.Itoa(int(at.Y)))
	l := w.busy("wheel-"+what, func() { w.x("click", "--repeat", "400", "--delay", "12", "5") })
	w.t.Logf("400 turns of the wheel over the %s: %v", what, l)
	w.settle()
	w.clickAt(w.images(60)[5])
	keys := slices.Repeat([]string{"Next"}, 100)
	l = w.busy("pages-"+what, func() { w.x(append([]string{"key", "--delay", "30"}, keys...)...) })
	w.t.Logf("100 pages of the %s: %v", what, l)
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// TestSpeed prints how fast the window is. It holds only what does not depend on how busy the machine is.
func TestSpeed(t *testing.T) {
	if testing.Short() {
		t.Skip("drives a real window")
	}
	display := screen(t)
	p := newPlace(t)
	w := start(t, display, p.env...)
	w.close()
	w.gone(soon)

	var shown []time.Duration
	for range 5 {
		began := time.Now()
		w = launch(t, display, p.env...)
		for !w.visible() {
			w.alive("the window")
			require.Less(t, time.Since(began), soon)
		}
		shown = append(shown, round(time.Since(began)))
		w.ready()
		w.close()
		w.gone(soon)
	}
	t.Logf("window shown after %v", shown)

	const n = 100_000
	w = start(t, display, p.env...)
	pages := []string{"datasets", "train", "runs", "gallery", "models", "settings", "home"}
	for _, round := range []string{"first", "second"} {
		var took []time.Duration
		l := w.busy("switch", func() {
			for _, id := range pages {
				took = append(took, w.page(id).Round(time.Millisecond))
			}
		})
		t.Logf("pages shown for the %s time after %v: %v", round, took, l)
	}

	w.settle()
	require.NoError(t, os.WriteFile(w.dump+".quiet", nil, 0o600))
	time.Sleep(2 * time.Second)
	const rests = 8
	rested := ran(t, w.cmd.Process.Pid)
	time.Sleep(rests * time.Second)
	rested = ran(t, w.cmd.Process.Pid) - rested
	require.NoError(t, os.Remove(w.dump+".quiet"))
	t.Logf("a window at rest takes %.1f ms of processor time a second", rested.Seconds()*1000/rests)

	w.open("datasets")
	w.click("button", "Import…")
	w.until("the dialog", soon, func() bool { return w.shows("Import pictures") })
	began := time.Now()
	w.fill(w.entry("Folder, zip or IDX file"), idx(t, n))
	l := w.busy("import", func() {
		w.click("button", "Import")
		w.until("the images", long, func() bool { return w.shows("100,000 images") && len(w.images(60)) > 12 })
	})
	t.Logf("%d images imported in %v: %v", n, time.Since(began).Round(time.Second), l)

	w.click("button", "Datasets")
	w.wait("100,000 images", soon)
	w.settle()
	var took time.Duration
	l = w.busy("open", func() {
		cover := w.images(60)[0]
		took = w.after(func() { w.tap(cover) }, func() bool { return len(w.images(60)) > 12 })
	})
	t.Logf("dataset of %d images opened, with its thumbnails, in %v: %v", n, round(took), l)
	w.scroll("dataset")
	memory := w.resident()
	t.Logf("memory of the window %d MB", memory>>20)
	require.Less(t, memory, int64(500<<20)) // aimed at 400, which a garbage collection not yet run may hide
	w.shot("large-dataset")
	w.close()
	w.gone(soon)
}

// picture encodes a small picture with the metadata of a sample.
func picture(t *testing.T, seed int) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, 16, 16))
	for i := range img.Pix {
		img.Pix[i] = byte(seed*(i/64+1) + i)
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	img.Set(seed%16, 3, color.White)
	var b bytes.Buffer
	require.NoError(t, (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(&b, img))
	text := fmt.Appendf(nil, "iTXtunnoise\x00\x00\x00\x00\x00{\"format\":1,\"run\":\"0001-large\",\"checkpoint\":1000,\"sampler\":\"ddim\",\"steps\":50,\"eta\":0,\"seed\":%d,\"index\":0,\"class\":\"cat\"}", seed)
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(text)-4))
	chunk = binary.BigEndian.AppendUint32(append(chunk, text...), crc32.ChecksumIEEE(text))
	return slices.Insert(b.Bytes(), 33, chunk...) // after the signature and IHDR
}

// TestSpeedLarge prints how long the first look at galleries takes, and how a window over 100,000 files behaves.
func TestSpeedLarge(t *testing.T) {
	if !*all {
		t.Skip("takes minutes; -speed runs it")
	}
	p := newPlace(t)
	t.Setenv("UNNOISE_CONFIG", filepath.Join(filepath.Dir(p.workspace), "settings.json"))
	ctx := context.Background()
	st, err := studio.Open(ctx, p.workspace)
	require.NoError(t, err)
	require.NoError(t, st.Workspace.Refresh(ctx))
	for _, n := range []int{25_000, 50_000, 100_000} {
		tmp := t.TempDir()
		for i := range n {
			require.NoError(t, os.WriteFile(filepath.Join(tmp, fmt.Sprintf("seed%d-00000-00000000.png", i)), picture(t, i), 0o600))
		}
		require.NoError(t, os.Rename(tmp, filepath.Join(p.workspace, "galleries", fmt.Sprint("g", n))))
		began, cpu := time.Now(), spent(t, os.Getpid())
		require.NoError(t, st.Workspace.Refresh(ctx))
		d, cpu := time.Since(began), spent(t, os.Getpid())-cpu
		t.Logf("gallery of %d PNGs indexed for the first time in %v, %.0f µs each by the clock, %.0f µs of processor time", n, round(d),
			float64(d.Microseconds())/float64(n), float64(cpu.Microseconds())/float64(n))
		began = time.Now()
		require.NoError(t, st.Workspace.Refresh(ctx))
		t.Logf("looked through again in %v", time.Since(began).Round(time.Millisecond))
	}
	_, err = st.Datasets.Import(ctx, idx(t, 100_000), "large", nil)
	require.NoError(t, err)
	require.NoError(t, st.Close(ctx))

	w := start(t, screen(t), p.env...)
	w.settle()
	var took time.Duration
	rail, _ := w.find("rail", "gallery")
	l := w.busy("open-gallery", func() {
		took = w.after(func() { w.tap(rail) }, func() bool { return w.shows("175,000 pictures") && len(w.images(60)) > 12 })
	})
	t.Logf("page with 175,000 pictures of all galleries opened, with their thumbnails, in %v: %v", round(took), l)
	row, ok := w.find("text", "g100000")
	require.True(t, ok)
	l = w.busy("choose-gallery", func() {
		took = w.after(func() { w.tap(row) }, func() bool { return w.shows("100,000 pictures") && len(w.images(60)) > 12 })
	})
	t.Logf("gallery of 100,000 opened, with its thumbnails, in %v: %v", round(took), l)
	w.scroll("gallery")
	w.shot("large-gallery")
	w.open("datasets")
	w.wait("100,000 images", soon)
	w.settle()
	l = w.busy("open-dataset", func() {
		cover := w.images(60)[0]
		took = w.after(func() { w.tap(cover) }, func() bool { return len(w.images(60)) > 12 })
	})
	t.Logf("dataset of 100,000 opened for the first time, with its thumbnails, in %v: %v", round(took), l)
	w.scroll("dataset")
	t.Logf("memory of the window %d MB", w.resident()>>20)
	w.close()
	w.gone(soon)
}

// newest is the last line of a run's log.
func newest(t *testing.T, run string) (step int64, at time.Time) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(run, "log.jsonl"))
	require.NoError(t, err)
	for line := range bytes.Lines(b) {
		var l struct {
			Step int64
			Time time.Time
		}
		if json.Unmarshal(line, &l) == nil && l.Step > 0 {
			step, at = l.Step, l.Time
		}
	}
	return step, at
}

// pace is what a step takes: ms by the clock, and ms of processor time of the training process.
type pace struct{ wall, cpu float64 }

// paced measures from one line of a run's log to another, at least so long after it.
func paced(t *testing.T, run string, pid int, stretch time.Duration) pace {
	t.Helper()
	began := time.Now()
	next := func(after int64) (int64, time.Time, time.Duration) {
		for {
			if step, at := newest(t, run); step > after {
				return step, at, spent(t, pid)
			}
			require.Less(t, time.Since(began), long, "the run does not go on")
			time.Sleep(20 * time.Millisecond)
		}
	}
	step, _ := newest(t, run)
	step, at, cpu := next(step)
	time.Sleep(stretch)
	last, _ := newest(t, run)
	last, end, used := next(last)
	n := float64(last-step) * 1000
	return pace{float64(end.Sub(at).Microseconds()) / n, float64((used - cpu).Microseconds()) / n}
}

// steady has a run neither sample nor save while it is measured.
func steady(t *testing.T, run string) {
	t.Helper()
	path := filepath.Join(run, "run.json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(b, &m))
	train := m["train"].(map[string]any)
	train["sample_every"], train["save_every"] = 1_000_000, 1_000_000
	b, err = json.Marshal(m)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// TestSpeedTraining prints what the window costs a training: the same run goes on by turns under the command line and in
// a window that shows its curves.
func TestSpeedTraining(t *testing.T) {
	if !*all {
		t.Skip("takes minutes; -speed runs it")
	}
	const warm, stretch = 6 * time.Second, 30 * time.Second
	display := screen(t)
	p := newPlace(t)
	pictures := sprites(t, 48)
	w := start(t, display, p.env...)
	w.open("datasets")
	w.click("button", "Import…")
	w.fill(w.entry("Folder, zip or IDX file"), pictures)
	w.click("button", "Import")
	w.wait("48 images", soon)
	w.settle()
	w.click("button", "Train on it")
	w.until("the Train page", soon, func() bool { return w.see().Page == "train" })
	w.click("text", "Tiny")
	w.settle()
	w.fill(w.beside("Steps"), "100000")
	w.click("button", "Start")
	w.until("the curves", long, func() bool { return w.shows("training loss") })
	stop := func() {
		w.open("train")
		w.click("button", "Stop")
		w.until("the stop", long, func() bool { return w.shows("No training is running") })
		w.close()
		w.gone(soon)
	}
	stop()
	run := p.runs(t)[0]
	dir := filepath.Join(p.workspace, "runs", run.ID)
	exe, err := program()
	require.NoError(t, err)

	steady(t, dir)

	var wall, cpu []float64
	share := map[string][]float64{}
	for i := range 5 {
		cmd := exec.Command(exe, "train", "--run", dir, "--resume")
		cmd.Env = append(os.Environ(), p.env...)
		var log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &log, &log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		require.NoError(t, cmd.Start())
		time.Sleep(warm)
		plain := paced(t, dir, cmd.Process.Pid, stretch)
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		_ = cmd.Wait()

		w = start(t, display, p.env...)
		w.open("runs")
		w.click("text", run.Name)
		w.click("button", "Continue")
		w.open("train")
		w.until("the curves", long, func() bool { return w.shows("Training · ") && w.shows("training loss") })
		time.Sleep(warm)
		require.NoError(t, os.WriteFile(w.dump+".quiet", nil, 0o600))
		began, before, screenBefore := time.Now(), threads(t, w.cmd.Process.Pid), spent(t, servers[display])
		shown := paced(t, dir, w.cmd.Process.Pid, stretch)
		percent := time.Since(began).Seconds() * float64(runtime.NumCPU()) / 100
		for k, d := range threads(t, w.cmd.Process.Pid) {
			share[k] = append(share[k], (d-before[k]).Seconds()/percent)
		}
		share["screen"] = append(share["screen"], (spent(t, servers[display])-screenBefore).Seconds()/percent)
		require.NoError(t, os.Remove(w.dump+".quiet"))
		if i == 0 {
			w.settle()
			w.shot("training-speed")
		}
		stop()
		wall, cpu = append(wall, shown.wall/plain.wall), append(cpu, shown.cpu/plain.cpu)
		t.Logf("round %d: a step takes %.1f ms and %.1f ms of processor time by the command line, %.1f and %.1f in the window: %.3f and %.3f times as much",
			i+1, plain.wall, plain.cpu, shown.wall, shown.cpu, wall[i], cpu[i])
	}
	t.Logf("a step in the window over one by the command line: time, median %.3f, from %.3f to %.3f; processor time, median %.3f, from %.3f to %.3f",
		median(wall), slices.Min(wall), slices.Max(wall), median(cpu), slices.Min(cpu), slices.Max(cpu))
	t.Logf("of the machine's processor time while it trains in the window, medians: UI thread %.2f %%, graphics driver %.2f %%, screen %.2f %%, training and the rest %.1f %%",
		median(share["UI"]), median(share["graphics"]), median(share["screen"]), median(share["other"]))
}
