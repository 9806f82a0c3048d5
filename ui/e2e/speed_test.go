//go:build !race

package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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

// TestSpeed prints how fast the window is; go test -run TestSpeed -v ./ui/e2e. It holds only what does not depend on how
// busy the machine is.
func TestSpeed(t *testing.T) {
	if testing.Short() {
		t.Skip("drives a real window")
	}
	display := screen(t)
	p := newPlace(t)
	w := start(t, display, p.env...)
	w.close()
	w.gone(soon)

	best := time.Hour
	for range 3 {
		began := time.Now()
		w = launch(t, display, p.env...)
		w.until("the window", soon, w.visible)
		best = min(best, time.Since(began))
		w.ready()
		w.close()
		w.gone(soon)
	}
	t.Logf("window shown %v after its start, best of 3", best.Round(10*time.Millisecond))

	const n = 100_000
	w = start(t, display, p.env...)
	pages := []string{"datasets", "train", "runs", "gallery", "models", "settings", "home"}
	for range 2 { // the second round is of pages that are built
		l := w.busy("pages", func() {
			for _, id := range pages {
				w.open(id)
			}
		})
		t.Logf("a round of page switches: %v", l)
	}
	before := w.resident()

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
	l = w.busy("open", func() {
		began = time.Now()
		w.clickAt(w.images(60)[0])
		w.until("the thumbnails", soon, func() bool { return len(w.images(60)) > 12 })
	})
	t.Logf("dataset opened within %v (with the test's own waits): %v", time.Since(began).Round(10*time.Millisecond), l)

	w.settle()
	at := w.images(60)[5]
	w.x("mousemove", strconv.Itoa(int(at.X)), strconv.Itoa(int(at.Y)))
	l = w.busy("scroll", func() { w.x("click", "--repeat", "400", "--delay", "12", "5") })
	t.Logf("400 turns of the wheel: %v", l)
	after := w.resident()
	t.Logf("memory %d MB, %d MB of it since the import", after>>20, (after-before)>>20)
	require.Less(t, after-before, int64(400<<20), "memory of the thumbnails")
	w.shot("large-dataset")
	w.close()
	w.gone(soon)
}
