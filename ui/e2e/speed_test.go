//go:build !race

package e2e

import (
	"bufio"
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

// busy runs a piece and returns the longest time in ms that it kept the UI thread busy, and how often for over 50 ms.
func (w *window) busy(piece func()) (float64, int) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(w.dump+".reset", nil, 0o600))
	w.until("the reset", soon, func() bool { _, err := os.Stat(w.dump + ".reset"); return err != nil })
	piece()
	time.Sleep(600 * time.Millisecond)
	d := w.see()
	return d.Stall, d.Stalls
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
		ms, _ := w.busy(func() {
			for _, id := range pages {
				w.open(id)
			}
		})
		t.Logf("a round of page switches keeps the UI thread busy for at most %.0f ms at a time", ms)
	}
	before := w.resident()

	w.open("datasets")
	w.click("button", "Import…")
	w.until("the dialog", soon, func() bool { return w.shows("Import pictures") })
	began := time.Now()
	w.fill(w.entry("Folder, zip or IDX file"), idx(t, n))
	ms, over := w.busy(func() {
		w.click("button", "Import")
		w.until("the images", long, func() bool { return w.shows("100,000 images") && len(w.images(60)) > 12 })
	})
	t.Logf("%d images imported in %v; the UI thread was busy for at most %.0f ms at a time, %d times over 50 ms", n, time.Since(began).Round(time.Second), ms, over)

	w.click("button", "Datasets")
	w.wait("100,000 images", soon)
	w.settle()
	ms, over = w.busy(func() {
		began = time.Now()
		w.clickAt(w.images(60)[0])
		w.until("the thumbnails", soon, func() bool { return len(w.images(60)) > 12 })
	})
	t.Logf("dataset opened within %v (with the test's own waits); at most %.0f ms at a time, %d times over 50 ms", time.Since(began).Round(10*time.Millisecond), ms, over)

	w.settle()
	at := w.images(60)[5]
	w.x("mousemove", strconv.Itoa(int(at.X)), strconv.Itoa(int(at.Y)))
	ms, over = w.busy(func() { w.x("click", "--repeat", "400", "--delay", "12", "5") })
	t.Logf("400 turns of the wheel: the UI thread was busy for at most %.0f ms at a time, %d times over 50 ms", ms, over)
	after := w.resident()
	t.Logf("memory %d MB, %d MB of it since the import", after>>20, (after-before)>>20)
	require.Less(t, after-before, int64(400<<20), "memory of the thumbnails")
	w.shot("large-dataset")
	w.close()
	w.gone(soon)
}
