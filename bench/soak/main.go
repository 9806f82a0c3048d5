// Soak kills the program at random moments, as a power cut or the system's out-of-memory killer would, in all that it does,
// and checks after each kill that nothing is lost: every checkpoint, picture and dataset that was finished is whole (as
// “unnoise check” sees it) and still there, the same command goes on, and what is done in the end has the same bits as if
// nothing had happened.
//
//	go run ./bench/soak [-n KILLS] [-seed SEED] [-only NAME,…] [-program bin/unnoise] [-jobs N]
//
// The seed fixes what is killed and after which part of the time that it takes undisturbed. It prints a line for each kind of
// work and ends with exit code 0 only if nothing was lost. make soak builds what it needs and runs it.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	n := flag.Int("n", 1000, "how many kills in all")
	seed := flag.Uint64("seed", 1, "of the moments")
	only := flag.String("only", "", "names of the kinds of work, with commas (default: all)")
	program := flag.String("program", filepath.Join("bin", "unnoise"), "the program")
	jobs := flag.Int("jobs", runtime.NumCPU(), "how many kinds of work at once")
	child := flag.String("child", "", "for its own use: what to do until killed")
	dir := flag.String("dir", "", "for its own use: where")
	flag.Parse()
	if *child != "" {
		if err := work(context.Background(), *child, *dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	lost, err := soak(context.Background(), *n, *seed, *only, *program, *jobs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
	if lost > 0 {
		os.Exit(1)
	}
}

// task is a kind of work that is killed over and over.
type task struct {
	name  string
	share int // of all kills, relative to the others'
	dir   string
	// command is what is to be started next: the same again after a kill, as a person would.
	command func() (*exec.Cmd, error)
	// look checks what is there after a kill, or after the command has ended by itself.
	look func(ctx context.Context, done bool) error

	quota, kills, done, debris int
	calm                       time.Duration // what the command takes undisturbed
	problems                   []string
}

// soak runs all kinds of work and returns how often something was lost.
func soak(ctx context.Context, n int, seed uint64, only, program string, jobs int) (lost int, err error) {
	program, err = filepath.Abs(program)
	if err != nil {
		return 0, err
	}
	if _, err := os.Stat(program); err != nil {
		return 0, fmt.Errorf("%w; build it first", err)
	}
	dir, err := os.MkdirTemp("", "unnoise-soak-*")
	if err != nil {
		return 0, err
	}
	began := time.Now()
	s, err := prepare(ctx, dir, program)
	if err != nil {
		return 0, err
	}
	tasks := s.tasks()
	if only != "" {
		names := strings.Split(only, ",")
		tasks = slices.DeleteFunc(tasks, func(t *task) bool { return !slices.Contains(names, t.name) })
	}
	total := 0
	for _, t := range tasks {
		total += t.share
	}
	if total == 0 {
		return 0, fmt.Errorf("there is no work named %s", only)
	}
	given := 0
	for _, t := range tasks {
		t.quota = n * t.share / total
		given += t.quota
	}
	for i := 0; given < n; i++ { // what rounding left over
		tasks[i%len(tasks)].quota++
		given++
	}
	queue := make(chan *task, len(tasks))
	for _, t := range tasks {
		queue <- t
	}
	close(queue)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range max(1, jobs) {
		wg.Go(func() {
			for t := range queue {
				h := fnv.New64a()
				_, _ = h.Write([]byte(t.name)) // a hash never fails
				t.run(ctx, rand.New(rand.NewPCG(seed, h.Sum64())))
				mu.Lock()
				fmt.Println(t)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	kills, done := 0, 0
	for _, t := range tasks {
		kills, done, lost = kills+t.kills, done+t.done, lost+len(t.problems)
	}
	verdict := "nothing lost"
	if lost > 0 {
		verdict = fmt.Sprintf("LOST %d times; what was left is in %s", lost, dir)
	} else if err := os.RemoveAll(dir); err != nil {
		return lost, err
	}
	fmt.Printf("%-14s %5d kills  %5d finished  seed %d, %s: %s\n", "all", kills, done, seed, time.Since(began).Round(time.Second), verdict)
	return lost, nil
}

func (t *task) String() string {
	s := fmt.Sprintf("%-14s %5d kills  %5d finished  %4d ms undisturbed  %d lost", t.name, t.kills, t.done, t.calm.Milliseconds(), len(t.problems))
	if t.debris > 0 {
		s += fmt.Sprintf("  (%d temporary files left)", t.debris)
	}
	for _, p := range t.problems {
		s += "\n    " + strings.ReplaceAll(p, "\n", "\n    ")
	}
	return s
}

// mostProblems is when a kind of work is given up.
const mostProblems = 5

func (t *task) run(ctx context.Context, r *rand.Rand) {
	fail := func(err error) { t.problems = append(t.problems, fmt.Sprintf("after %d kills: %v", t.kills, err)) }
	if err := t.once(ctx, 0); err != nil { // how long does it take?
		fail(err)
		return
	}
	for tries := 0; t.kills < t.quota && tries < 5*t.quota+20 && len(t.problems) < mostProblems; tries++ {
		// Every tenth is hit in its first moments, where folders are made and locks are taken.
		part := r.Float64() * 1.05
		if r.IntN(10) == 0 {
			part = r.Float64() * 0.1
		}
		if err := t.once(ctx, max(time.Duration(part*float64(t.calm)), time.Microsecond)); err != nil {
			fail(err)
		}
	}
	if t.kills < t.quota && len(t.problems) < mostProblems {
		fail(fmt.Errorf("only %d of %d kills hit it", t.kills, t.quota))
	}
	for range 3 { // what was begun last comes to its end
		if err := t.once(ctx, 0); err != nil {
			fail(err)
			break
		}
	}
}

// once starts the command, kills it after a while (0: never) unless it has ended by then, and looks at what is there.
func (t *task) once(ctx context.Context, after time.Duration) error {
	cmd, err := t.command()
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd.Stderr, cmd.Stdout = &stderr, &stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	if after > 0 {
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	err = cmd.Wait()
	took := time.Since(began)
	_, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		t.done++
		// The machine may be busier or less busy now.
		t.calm = (t.calm*3 + took) / 4
		if t.done == 1 {
			t.calm = took
		}
		return t.look(ctx, true)
	case ended && after > 0 && cmd.ProcessState.ExitCode() == -1:
		t.kills++
		return t.look(ctx, false)
	}
	return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args[1:], " "), err, tail(stderr.String()))
}

func tail(s string) string { return s[max(0, len(s)-1000):] }
