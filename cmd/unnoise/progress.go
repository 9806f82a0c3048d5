package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a piece of work has come: a bar on a terminal, else a plain line now and then. The zero value
// with a writer is ready; it is used by one goroutine.
type progress struct {
	w     io.Writer
	bare  io.Writer // the terminal itself, for the bar, which moves on it
	bar   *progressbar.ProgressBar
	what  string
	began time.Time
	last  time.Time
}

// plainEvery is how often a line is written where there is no terminal.
const plainEvery = 10 * time.Second

// terminal reports whether w is one.
func terminal(w io.Writer) bool {
	if s, ok := w.(*screen); ok {
		w = s.to
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// show tells that done of total are done. note follows the numbers; eta is shown unless it is 0, when it is reckoned.
func (p *progress) show(what string, done, total int64, note string, eta time.Duration) {
	now := time.Now()
	if what != p.what || p.began.IsZero() {
		p.clear()
		p.what, p.began, p.last = what, now, now
	}
	if eta == 0 && done > 0 && total > done {
		eta = time.Duration(float64(now.Sub(p.began)) / float64(done) * float64(total-done))
	}
	left := ""
	if eta >= time.Second {
		left = ", " + duration(eta) + " left"
	}
	if note != "" {
		note = ", " + note
	}
	if !terminal(p.w) {
		if now.Sub(p.last) >= plainEvery {
			p.last = now
			fmt.Fprintf(p.w, "%s: %d of %d%s%s\n", visibleArgs([]any{what, done, total, note, left})...)
		}
		return
	}
	if now.Sub(p.last) < 100*time.Millisecond && done < total {
		return
	}
	p.last = now
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(max(total, 1),
			progressbar.OptionSetWriter(p.bare), progressbar.OptionSetWidth(24), progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false), progressbar.OptionUseANSICodes(true), progressbar.OptionThrottle(0))
	}
	p.bar.ChangeMax64(max(total, 1))
	p.bar.Describe(visible(fmt.Sprintf("%s %d/%d%s%s", what, done, total, note, left)))
	_ = p.bar.Set64(min(done, total))
}

// line writes a line that stays, above the bar.
func (p *progress) line(format string, args ...any) {
	p.clear()
	fmt.Fprintf(p.w, format+"\n", visibleArgs(args)...)
}

// clear takes the bar off the screen.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
	p.what = ""
}

// duration is a time left as people say it.
func duration(d time.Duration) string {
	s := int64(d.Round(time.Second).Seconds())
	var parts []string
	for _, u := range []struct {
		n    int64
		name string
	}{{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}} {
		if n := s / u.n; n > 0 && len(parts) < 2 {
			parts = append(parts, fmt.Sprintf("%d %s", n, u.name))
			s -= n * u.n
		} else if len(parts) > 0 {
			break
		}
	}
	if len(parts) == 0 {
		return "0 s"
	}
	return strings.Join(parts, " ")
}
