package page

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"fyne.io/fyne/v2/lang"
	"golang.org/x/text/message"

	"unnoise/app/studio"
	"unnoise/runtime/sentence"
	"unnoise/ui/i18n"
)

// longest is how many characters of a sentence are shown. What a file from elsewhere says may be far longer than a label can
// lay out: a third of a million letters take it minutes.
const longest = 2000

// Text is a sentence of the studio in the user's language.
func Text(t studio.Text) string {
	text := translated(t)
	n := 0
	for at := range text {
		if n++; n > longest {
			return text[:at] + "…"
		}
	}
	return text
}

func translated(t studio.Text) string {
	if t.Template == "" {
		return ""
	}
	data := make(map[string]any, len(t.Data))
	for k, v := range t.Data {
		if err, ok := v.(error); ok { // a sentence within the sentence; a studio.Text is an error, too
			v = strings.TrimSpace(Text(sentence.Of(err)))
		}
		data[k] = v
	}
	switch {
	case !i18n.Has(t.Template): // from a library, or from a file: no template to be run
		return studio.Text{Template: t.Template, Data: data}.String()
	case len(data) == 0:
		return lang.L(t.Template)
	}
	return lang.L(t.Template, data)
}

// Sentence turns an error into a sentence to show, in the user's language where it can be: a capital first and a full
// stop last.
func Sentence(err error) string {
	if err == nil {
		return ""
	}
	text := strings.TrimSpace(Text(sentence.Of(err)))
	if text == "" {
		return ""
	}
	r, n := utf8.DecodeRuneInString(text)
	text = string(unicode.ToUpper(r)) + text[n:]
	if last, _ := utf8.DecodeLastRuneInString(text); !strings.ContainsRune(".!?…。！？", last) {
		text += lang.L(".")
	}
	return text
}

var numbers = message.NewPrinter(message.MatchLanguage("en"))

// Int writes a whole number with its thousands set apart.
func Int[T int | int32 | int64](n T) string { return numbers.Sprintf("%d", n) }

// Count writes a large number as people say it: "1.1 M", "45 k"; in Chinese, which counts in ten thousands, "110万".
func Count(n int64) string {
	if n < 10_000 {
		return Int(n)
	}
	unit, per := lang.L("k"), 1e3
	if n >= 1_000_000 {
		unit, per = lang.L("M"), 1e6
	}
	v, gap := float64(n)/per, " "
	if unit == "万" {
		v, gap = float64(n)/1e4, "" // a line may end at a space
	}
	if v < 10 || per == 1e6 && gap != "" {
		return fmt.Sprintf("%.1f", v) + gap + unit
	}
	return fmt.Sprintf("%.0f", v) + gap + unit
}

// Bytes writes an amount of memory or disk.
func Bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	unit := "B"
	for _, u := range []string{"kB", "MB", "GB", "TB"} {
		v /= 1000
		unit = u
		if v < 999.5 {
			break
		}
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}

// Duration writes a length of time as people say it: "5 s", "12 min", "3 h 20 min", "2 d 4 h".
func Duration(d time.Duration) string {
	s := int64(math.Round(d.Seconds()))
	seconds := func(v int64) string { return lang.L("{{.N}} s", map[string]any{"N": v}) }
	minutes := func(v int64) string { return lang.L("{{.N}} min", map[string]any{"N": v}) }
	hours := func(v int64) string { return lang.L("{{.N}} h", map[string]any{"N": v}) }
	switch {
	case s < 60:
		return seconds(max(s, 0))
	case s < 10*60:
		return minutes(s/60) + " " + seconds(s%60)
	case s < 60*60:
		return minutes((s + 30) / 60)
	case s < 24*60*60:
		return hours(s/3600) + " " + minutes(s%3600/60)
	default:
		return lang.L("{{.N}} d", map[string]any{"N": s / 86400}) + " " + hours(s%86400/3600)
	}
}

// Number writes a loss or a rate with three significant digits, and a dash when there is none.
func Number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case v != 0 && (math.Abs(v) < 1e-3 || math.Abs(v) >= 1e6):
		return fmt.Sprintf("%.2e", v)
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	case math.Abs(v) >= 1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.4f", v)
	}
}

// When writes a moment: the time for today, else the date.
func When(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	t = t.Local()
	now := time.Now()
	if y, d := t.Year(), t.YearDay(); y == now.Year() && d == now.YearDay() {
		return lang.L("today {{.Time}}", map[string]any{"Time": t.Format("15:04")})
	}
	if t.Year() == now.Year() {
		return t.Format("01-02 15:04")
	}
	return t.Format("2006-01-02")
}

// JobState is what the running job does, in a word; nothing while none runs.
func JobState(s studio.JobState) string {
	switch s {
	case studio.JobStarting:
		return lang.L("Starting…")
	case studio.JobTraining:
		return lang.L("Training")
	case studio.JobPausing:
		return lang.L("Pausing…")
	case studio.JobPaused:
		return lang.L("Paused")
	case studio.JobSampling:
		return lang.L("Sampling")
	case studio.JobStopping:
		return lang.L("Stopping…")
	case studio.JobIdle:
	}
	return ""
}

// RunState is the state of a run in a word.
func RunState(s studio.RunState) string {
	switch s {
	case studio.RunNew:
		return lang.L("Not started")
	case studio.RunRunning:
		return lang.L("Training")
	case studio.RunPaused:
		return lang.L("Paused")
	case studio.RunStopped:
		return lang.L("Stopped")
	case studio.RunInterrupted:
		return lang.L("Interrupted")
	case studio.RunDone:
		return lang.L("Done")
	case studio.RunFailed:
		return lang.L("Failed")
	}
	return string(s)
}

// Checkpoints are the choices of a checkpoint, and what each stands for in a request: the newest, the best where one is
// known, and all of them by their steps.
func Checkpoints(cs []studio.Checkpoint) (names []string, steps []int64) {
	add := func(name string, step int64) { names, steps = append(names, name), append(steps, step) }
	add(lang.L("The newest"), studio.NewestCheckpoint)
	for _, k := range cs {
		if k.Best {
			add(lang.L("The best, by held-out loss"), studio.BestCheckpoint)
		}
	}
	for _, k := range cs {
		name := lang.L("step {{.Step}}", map[string]any{"Step": Int(k.Step)})
		if !math.IsNaN(k.HeldOut) {
			name += " · " + lang.L("held-out loss {{.Loss}}", map[string]any{"Loss": Number(k.HeldOut)})
		}
		if k.Best {
			name += " ★"
		}
		add(name, k.Step)
	}
	return names, steps
}
