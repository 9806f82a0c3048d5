// Command unnoise trains image diffusion models on a folder of pictures, samples them and exports the results.
// Run “unnoise help” for its subcommands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"unnoise/pipeline/model"
)

// Set by the build with -ldflags.
var (
	version = "development"
	commit  = "unknown"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitKilled = 130 // as shells report a program ended by Ctrl-C
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the program: it returns the exit code.
func run(args []string, _ io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := interruptible(stderr)
	defer stop()
	out, problems := &screen{to: stdout}, &screen{to: stderr}
	defer out.flush()
	defer problems.flush()
	a := &app{out: out, err: problems}
	a.progress.w, a.progress.bare = problems, stderr
	root := a.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(problems)
	err := root.ExecuteContext(ctx)
	a.progress.clear()
	if err == nil {
		return exitDone
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errors.New("stopped before the work was done")
	}
	a.tell(err)
	if errors.Is(err, errUsage) || errors.Is(err, model.ErrOption) {
		return exitUsage
	}
	return exitFailed
}

// tell writes an error's sentence.
func (a *app) tell(err error) { fmt.Fprintln(a.err, "unnoise: "+visible(oneLine(err))) }

// oneLine is the error's sentence, without line breaks and without the mark that tells its kind.
func oneLine(err error) string {
	s := strings.ReplaceAll(strings.TrimSpace(err.Error()), model.ErrOption.Error()+": ", "")
	s = strings.ReplaceAll(s, errUsage.Error()+": ", "")
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// errUsage marks a wrong use of the command line.
var errUsage = errors.New("wrong usage")

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errUsage}, args...)...)
}

// interruptible returns a context that ends with the first Ctrl-C or polite kill, when the terminal is closed, and when
// nobody reads the output any more: what is done is kept. A second Ctrl-C or kill leaves at once.
func interruptible(stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE)
	if !signal.Ignored(syscall.SIGHUP) { // nohup asks to go on
		signal.Notify(signals, syscall.SIGHUP)
	}
	var over atomic.Bool
	go func() {
		asked := false
		for {
			s, ok := <-signals
			if !ok || over.Load() {
				return
			}
			// A closed terminal may send its signal several times, and each write to it another one.
			if polite := s == os.Interrupt || s == syscall.SIGTERM; polite {
				if asked {
					os.Exit(exitKilled)
				}
				asked = true
			}
			if ctx.Err() == nil {
				cancel() // before anything is written: that may fail or wait
				fmt.Fprintln(stderr, "\nunnoise: stopping and keeping what is done; once more leaves at once")
			}
		}
	}()
	return ctx, func() {
		over.Store(true)
		signal.Stop(signals)
		close(signals)
		cancel()
	}
}

// app is what the subcommands share.
type app struct {
	out, err io.Writer
	json     bool
	progress progress
}

func (a *app) root() *cobra.Command {
	var workspace string
	root := &cobra.Command{
		Use:   "unnoise",
		Short: "Train image diffusion models on your own pictures",
		Long: `Unnoise trains an image diffusion model on a folder of your own pictures, samples
new ones from it, and exports pictures and model. It runs on this computer alone,
offline.

Without a subcommand it opens its window.`,
		Example: `  unnoise demo
  unnoise scan ~/Pictures/sprites
  unnoise train --data ~/Pictures/sprites --run runs/sprites
  unnoise sample --run runs/sprites --n 64 --out more-sprites --grid sheet.png
  unnoise export --run runs/sprites --format diffusers --out sprites-model`,
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return a.window(cmd.Context(), workspace) },
	}
	root.Flags().StringVar(&workspace, "workspace", "", "folder with the datasets, runs and galleries (default: the one in the settings)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%s; “%s --help” shows what there is", flagProblem(err), cmd.CommandPath())
	})
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(a.check(), a.scan(), a.train(), a.sample(), a.export(), a.eval(), a.modelImport(), a.bench(), a.demo(), a.runtime(), a.version(),
		with(a.datasets(), a.datasetImport(), a.datasetDelete()), with(a.runs(), a.runNote(), a.runDelete()),
		with(a.galleries(), a.galleryDelete()), with(a.queue(), a.queueAdd(), a.queueContinue(), a.queueRemove()))
	return root
}

// flagProblem says what is wrong with a flag; where a number was expected, not in strconv's words.
func flagProblem(err error) string {
	num, ok := errors.AsType[*strconv.NumError](err)
	if !ok {
		return err.Error()
	}
	takes := map[string]string{"ParseInt": "a whole number", "ParseUint": "a whole number of at least 0", "ParseFloat": "a number", "ParseBool": "true or false"}[num.Func]
	if errors.Is(num, strconv.ErrRange) {
		takes = "a number nearer to zero"
	}
	if takes == "" {
		return err.Error()
	}
	return strings.Replace(err.Error(), num.Error(), "it takes "+takes, 1)
}

// noArgs refuses arguments that are neither flags nor subcommands.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasParent() {
		msg := fmt.Sprintf("there is no subcommand %q", args[0])
		if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
			msg += fmt.Sprintf("; did you mean %q?", s[0])
		}
		return usage("%s “unnoise help” lists them", msg+";")
	}
	return usage("%q is one word too many; “%s --help” shows how to use it", args[0], cmd.CommandPath())
}

// jsonFlag adds --json to a command that prints figures.
func (a *app) jsonFlag(c *cobra.Command) {
	c.Flags().BoolVar(&a.json, "json", false, "print the result as JSON")
}

// required makes flags obligatory, with a sentence of our own when one is missing.
func required(c *cobra.Command, names ...string) {
	old := c.PreRunE
	c.PreRunE = func(cmd *cobra.Command, args []string) error {
		for _, n := range names {
			if f := cmd.Flags().Lookup(n); f.Value.String() == "" {
				return usage("--%s is missing; “%s --help” shows how to use it", n, cmd.CommandPath())
			}
		}
		if old != nil {
			return old(cmd, args)
		}
		return nil
	}
}
