package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	soon = 2 * time.Minute // for what a person would call at once, on a busy machine, under the race detector
	long = 6 * time.Minute // for training
)

type node struct {
	Kind, Text, Value string
	Disabled          bool
	X, Y, W, H        float64
	Overlay           bool
}

type dump struct {
	Page       string
	Messages   []string
	Focused    bool
	Nodes      []node
	Goroutines int
	Heap       uint64
	Frames     frames
}

// frames tells about the turns of the UI thread in which something was painted: the processor time of that thread, and
// the time that passed.
type frames struct {
	N          int
	Work, Time times
}

// times are of single frames, in ms.
type times struct {
	Median, P95, Worst float64
	Over               int // how many of more than 50 ms
}

func (t times) String() string {
	return fmt.Sprintf("median %.1f, 95 %% %.1f, worst %.1f ms, %d over 50 ms", t.Median, t.P95, t.Worst, t.Over)
}

func (f frames) String() string {
	return fmt.Sprintf("%d frames painted; work of the UI thread %v; time by the clock %v", f.N, f.Work, f.Time)
}

// program builds the program once for all tests.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "unnoise-e2e")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "unnoise")
	args := []string{"build", "-buildvcs=false", "-tags", "no_metadata uitest", "-o", out}
	if raced {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "unnoise/cmd/unnoise")...)
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, b)
	}
	return out, nil
})

// screen starts a virtual screen of its own, so that no other test is in the way.
func screen(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the window is driven under Xvfb")
	}
	for _, tool := range []string{"Xvfb", "xdotool", "import"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed; make test installs it", tool)
		}
	}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	// Without -noreset the screen starts anew when its last client leaves, and whoever connects meanwhile is turned away.
	cmd := exec.Command("Xvfb", "-displayfd", "3", "-noreset", "-screen", "0", "1440x900x24", "-nolisten", "tcp")
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	require.NoError(t, w.Close())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	number := make([]byte, 16)
	n, err := r.Read(number)
	require.NoError(t, err, "Xvfb did not start")
	display := ":" + strings.TrimSpace(string(number[:n]))
	servers[display] = cmd.Process.Pid
	return display
}

// servers are the processes of the screens.
var servers = map[string]int{}

// window is the program with its window open.
type window struct {
	t       *testing.T
	display string
	cmd     *exec.Cmd
	dump    string
	log     *lockedBuffer
	id      string
	ended   chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start opens the window with further environment variables and waits until it shows a page.
func start(t *testing.T, display string, env ...string) *window {
	t.Helper()
	w := launch(t, display, env...)
	w.until("the window", soon, w.visible)
	w.ready()
	return w
}

// launch starts the program and waits for nothing.
func launch(t *testing.T, display string, env ...string) *window {
	t.Helper()
	exe, err := program()
	require.NoError(t, err)
	w := &window{t: t, display: display, dump: filepath.Join(t.TempDir(), "dump.json"), log: &lockedBuffer{}, ended: make(chan error, 1)}
	w.cmd = exec.Command(exe)
	w.cmd.Env = append(os.Environ(), "DISPLAY="+display, "WAYLAND_DISPLAY=", "LIBGL_ALWAYS_SOFTWARE=1", "LANG=en_US.UTF-8", "LC_ALL=", "LANGUAGE=",
		"FYNE_THEME=light", "FYNE_SCALE=1", "UNNOISE_UI_DUMP="+w.dump)
	w.cmd.Env = append(w.cmd.Env, env...)
	w.cmd.Stdout, w.cmd.Stderr = w.log, w.log
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, w.cmd.Start())
	go func() { w.ended <- w.cmd.Wait() }()
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("the window's log:\n%s", w.log)
		}
	})
	return w
}

// visible says whether the window is on the screen, and notes its number.
func (w *window) visible() bool {
	out, err := w.try("search", "--onlyvisible", "--name", "^Unnoise$")
	w.id = strings.TrimSpace(strings.Split(out, "\n")[0])
	return err == nil && w.id != ""
}

// ready waits for the first page and gives the window the keyboard and its size.
func (w *window) ready() {
	w.t.Helper()
	w.until("the first page", soon, func() bool { return w.see().Page != "" })
	w.until("the focus", soon, func() bool { _, err := w.try("windowfocus", w.id); return err == nil })
	w.x("windowmove", w.id, "0", "0")
	w.x("windowsize", w.id, "1440", "900")
	w.until("its size", soon, func() bool {
		n, ok := w.find("button", "Keys")
		return ok && n.X > 1300
	})
}

func (w *window) try(args ...string) (string, error) {
	cmd := exec.Command("xdotool", args...)
	cmd.Env = append(os.Environ(), "DISPLAY="+w.display)
	out, err := cmd.Output()
	return string(out), err
}

func (w *window) x(args ...string) {
	w.t.Helper()
	_, err := w.try(args...)
	require.NoError(w.t, err, "xdotool %v", args)
}

// see is what the window shows now.
func (w *window) see() (d dump) {
	b, err := os.ReadFile(w.dump)
	if err == nil {
		_ = json.Unmarshal(b, &d)
	}
	return d
}

// alive fails if the program has ended while the test waits for something.
func (w *window) alive(what string) {
	w.t.Helper()
	select {
	case err := <-w.ended:
		w.t.Fatalf("the program ended (%v) while the test waited for %s", err, what)
	default:
	}
}

// until waits for a condition, and fails with what is on show.
func (w *window) until(what string, patience time.Duration, cond func() bool) {
	w.t.Helper()
	end := time.Now().Add(patience)
	for !cond() {
		w.alive(what)
		if time.Now().After(end) {
			w.shot("failed")
			d := w.see()
			var texts []string
			for _, n := range d.Nodes {
				if n.Text != "" {
					texts = append(texts, n.Kind+":"+n.Text)
				}
			}
			w.t.Fatalf("waited in vain for %s; page %q, messages %q, on show: %s", what, d.Page, d.Messages, strings.Join(texts, " | "))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// collected is what the window shows, after a garbage collection.
func (w *window) collected() dump {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(w.dump+".collect", nil, 0o600))
	w.until("the collection", soon, func() bool { _, err := os.Stat(w.dump + ".collect"); return err != nil })
	time.Sleep(time.Second)
	return w.see()
}

// find is the first node of a kind whose text is, or else contains, the given one; what lies in a dialog goes first. A
// disabled one is not found.
func (w *window) find(kind, text string) (found node, ok bool) {
	best := 0
	for _, n := range w.see().Nodes {
		if n.Kind != kind || n.Disabled || !strings.Contains(n.Text, text) {
			continue
		}
		rank := 1
		if n.Text == text {
			rank += 2
		}
		if n.Overlay {
			rank += 4
		}
		if rank > best {
			best, found = rank, n
		}
	}
	return found, best > 0
}

func (w *window) shows(text string) bool {
	for _, n := range w.see().Nodes {
		if strings.Contains(n.Text, text) {
			return true
		}
	}
	return false
}

func (w *window) wait(text string, patience time.Duration) {
	w.t.Helper()
	w.until(fmt.Sprintf("%q", text), patience, func() bool { return w.shows(text) })
}

// settle waits until nothing moves: three dumps alike.
func (w *window) settle() {
	same, last := 0, ""
	for i := 0; i < 40 && same < 3; i++ {
		time.Sleep(120 * time.Millisecond)
		b, _ := os.ReadFile(w.dump)
		var d dump
		_ = json.Unmarshal(b, &d)
		d.Goroutines, d.Heap, d.Frames = 0, 0, frames{}
		now := fmt.Sprint(d)
		if now == last {
			same++
		} else {
			same = 0
		}
		last = now
	}
}

func (w *window) clickAt(n node) {
	w.t.Helper()
	w.x("mousemove", strconv.Itoa(int(n.X+n.W/2)), strconv.Itoa(int(n.Y+n.H/2)))
	time.Sleep(80 * time.Millisecond)
	w.x("click", "1")
	time.Sleep(300 * time.Millisecond)
}

// click waits for a thing with a text to stand still and clicks it.
func (w *window) click(kind, text string) {
	w.t.Helper()
	var at node
	w.until(kind+" "+text, soon, func() bool {
		n, ok := w.find(kind, text)
		still := ok && n == at
		at = n
		if !still {
			time.Sleep(200 * time.Millisecond)
		}
		return still
	})
	w.clickAt(at)
}

func (w *window) open(page string) {
	w.t.Helper()
	w.until("page "+page, soon, func() bool {
		if w.see().Page == page {
			return true
		}
		if n, ok := w.find("rail", page); ok { // clicked again should the window have been laid out anew meanwhile
			w.clickAt(n)
			for range 20 {
				time.Sleep(200 * time.Millisecond)
				if w.see().Page == page {
					return true
				}
			}
		}
		return false
	})
}

func (w *window) key(keys ...string) {
	w.t.Helper()
	w.x(append([]string{"key", "--delay", "40"}, keys...)...)
	time.Sleep(200 * time.Millisecond)
}

// fill replaces what an entry holds, and tries again should the form have moved or been filled meanwhile.
func (w *window) fill(where func() node, text string) {
	w.t.Helper()
	w.until("the typed "+text, soon, func() bool {
		w.clickAt(where())
		w.key("ctrl+a")
		w.x("type", "--delay", "15", text)
		for range 20 {
			time.Sleep(200 * time.Millisecond)
			if where().Value == text {
				return true
			}
		}
		return false
	})
}

// beside finds the entry to the right of a label.
func (w *window) beside(label string) func() node {
	return func() (best node) {
		w.t.Helper()
		w.until("the entry beside "+label, soon, func() bool {
			found := math.Inf(1)
			nodes := w.see().Nodes
			for _, l := range nodes {
				if l.Kind != "text" || l.Text != label {
					continue
				}
				for _, n := range nodes {
					if n.Kind != "entry" || n.Overlay != l.Overlay || n.X < l.X || math.Abs(n.Y+n.H/2-l.Y-l.H/2) > 24 {
						continue
					}
					if d := n.X - l.X; d < found {
						found, best = d, n
					}
				}
			}
			return !math.IsInf(found, 1)
		})
		return best
	}
}

// entry finds the entry with a placeholder.
func (w *window) entry(placeholder string) func() node {
	return func() (n node) {
		w.t.Helper()
		w.until("the entry "+placeholder, soon, func() bool {
			var ok bool
			n, ok = w.find("entry", placeholder)
			return ok
		})
		return n
	}
}

// images are the pictures on show at least so wide, in reading order.
func (w *window) images(side float64) (out []node) {
	for _, n := range w.see().Nodes {
		if n.Kind == "image" && n.W >= side && n.H >= side*0.6 && !n.Overlay {
			out = append(out, n)
		}
	}
	return out
}

// shot keeps what the screen shows.
func (w *window) shot(name string) {
	if err := os.MkdirAll("screenshots", 0o755); err != nil {
		w.t.Error(err)
		return
	}
	cmd := exec.Command("import", "-window", "root", filepath.Join("screenshots", name+".png"))
	cmd.Env = append(os.Environ(), "DISPLAY="+w.display)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Logf("no screenshot %s: %v: %s", name, err, out)
	}
}

// close asks the window to close by key; there is no window manager whose button could be clicked.
func (w *window) close() {
	w.t.Helper()
	w.key("ctrl+q")
}

// gone waits for the program to end by itself and looks through its log.
func (w *window) gone(patience time.Duration) {
	w.t.Helper()
	select {
	case err := <-w.ended:
		require.NoError(w.t, err, "the program ended badly:\n%s", w.log)
	case <-time.After(patience):
		w.shot("failed")
		w.t.Fatal("the program did not end")
	}
	w.checkLog()
}

// kill ends the program with no chance to save.
func (w *window) kill() {
	w.t.Helper()
	require.NoError(w.t, w.cmd.Process.Kill())
	<-w.ended
	w.checkLog()
}

var bad = regexp.MustCompile(`(?m)^.*(call thread|DATA RACE|^panic:|fatal error:).*$`)

func (w *window) checkLog() {
	w.t.Helper()
	if line := bad.FindString(w.log.String()); line != "" {
		w.t.Fatalf("the window's log says %q:\n%s", line, w.log)
	}
}
