package e2e

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pixels is what the screen shows.
func (w *window) pixels() image.Image {
	w.t.Helper()
	cmd := exec.Command("import", "-window", "root", "png:-")
	cmd.Env = append(os.Environ(), "DISPLAY="+w.display)
	out, err := cmd.Output()
	require.NoError(w.t, err)
	img, err := png.Decode(bytes.NewReader(out))
	require.NoError(w.t, err)
	return img
}

// size is that of the window, in pixels of the screen.
func (w *window) size() (width, height int) {
	w.t.Helper()
	out, err := w.try("getwindowgeometry", "--shell", w.id)
	require.NoError(w.t, err)
	for line := range strings.Lines(out) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			n, _ := strconv.Atoi(v)
			switch k {
			case "WIDTH":
				width = n
			case "HEIGHT":
				height = n
			}
		}
	}
	return width, height
}

// A first start with a busy processor paints the welcome, though it comes after the first frame and nothing else moves.
func TestFirstStartOfABusyComputer(t *testing.T) {
	if testing.Short() {
		t.Skip("drives a real window")
	}
	display := screen(t)
	stop := make(chan struct{})
	defer close(stop)
	for range 3 * runtime.NumCPU() {
		go func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
	}
	for round := range 3 {
		w := launch(t, display, newPlace(t).env...)
		w.until("the window", long, w.visible)
		w.until("the welcome", long, func() bool {
			return w.shows("Unnoise learns from a folder of your pictures and makes new ones like them, on this computer alone.")
		})
		colours := 0
		w.until(fmt.Sprintf("the welcome to be painted, round %d", round), soon, func() bool {
			time.Sleep(500 * time.Millisecond) // nothing is touched meanwhile
			img := w.pixels()
			seen := map[[3]uint32]bool{}
			for y := 60; y < 500; y += 2 { // of the page, without its head and the rail
				for x := 300; x < 1100; x += 2 {
					r, g, b, _ := img.At(x, y).RGBA()
					seen[[3]uint32{r, g, b}] = true
				}
			}
			colours = len(seen)
			return colours > 200 // the program's picture alone has more
		})
		w.kill()
	}
}

// A larger scale keeps the window's pixels, on the screen; going back gives the former window, and a restart has it, too.
func TestScaleKeepsTheWindow(t *testing.T) {
	if testing.Short() {
		t.Skip("drives a real window")
	}
	display := screen(t)
	p := newPlace(t)
	w := launch(t, display, p.env...)
	w.until("the window", soon, w.visible)
	w.until("the first page", soon, func() bool { return w.see().Page != "" })
	w.until("the focus", soon, func() bool { _, err := w.try("windowfocus", w.id); return err == nil })
	width, height := w.size()
	w.open("settings")
	scale := func() (out node) {
		w.until("the scale's choice", soon, func() bool {
			nodes := w.see().Nodes
			for _, l := range nodes {
				for _, n := range nodes {
					if l.Kind == "text" && l.Text == "Scale" && n.Kind == "select" && n.Y < l.Y+l.H/2 && n.Y+n.H > l.Y+l.H/2 {
						out = n
						return true
					}
				}
			}
			return false
		})
		return out
	}
	choose := func(to string, unit float64) {
		w.settle()
		w.clickAt(scale())
		w.settle()
		w.click("text", to)
		w.until("the scale", soon, func() bool {
			n, ok := w.find("select", to)
			return ok && n.H > 25*unit && n.H < 45*unit
		})
		w.settle()
	}
	near := func(what string) {
		w.until(what, soon, func() bool {
			a, b := w.size()
			return a <= 1440 && b <= 900 && a >= width-8 && a <= max(width, 1280)+8 && b >= height-8 && b <= height+8
		})
	}
	choose("200 %", 2)
	near("the window at 200 %")
	choose("100 %", 1)
	near("the window at 100 %")
	w.x("windowsize", w.id, "1111", "777")
	w.until("the new size", soon, func() bool { a, b := w.size(); return a == 1111 && b == 777 })
	w.settle()
	w.close()
	w.gone(soon)
	w = launch(t, display, p.env...)
	w.until("the window", soon, w.visible)
	w.until("the size of before", soon, func() bool { a, b := w.size(); return a == 1111 && b == 777 })
	w.kill()
}
