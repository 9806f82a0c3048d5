package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/adrg/xdg"
	"github.com/spf13/cobra"

	"unnoise/app/demo"
	"unnoise/app/studio"
	"unnoise/pipeline/model"
	"unnoise/runtime/ort"
	"unnoise/runtime/ortlib"
	"unnoise/ui"
)

// window opens the window on a workspace.
func (a *app) window(ctx context.Context, workspace string) error {
	if runtime.GOOS == "linux" && os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return errors.New("there is no display to open the window on; “unnoise help” lists what can be done without one, and “unnoise demo” shows it")
	}
	studio.SetVersion(version)
	return ui.Run(ctx, ui.Options{Workspace: workspace})
}

// needRuntime loads the ONNX Runtime library, or says how to get it.
func needRuntime(ctx context.Context) error { return ort.InitDefault(ctx) }

func (a *app) demo() *cobra.Command {
	var (
		out     string
		compute model.Compute
	)
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work: train on built-in pictures for a few minutes, then sample 64",
		Long: `Demo draws a few hundred small pictures, trains a model on them for less than five
minutes, samples 64 new ones and says where they are.`,
		Example: `  unnoise demo
  unnoise demo --out my-demo`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needRuntime(cmd.Context()); err != nil {
				return err
			}
			if out == "" {
				out = filepath.Join(xdg.DataHome, "unnoise", "demo-"+time.Now().Format("20060102-150405"))
			}
			var res trainResult
			r, err := demo.Run(cmd.Context(), demo.Request{
				Dir: out, Compute: compute, Version: version,
				Stage: func(s string) { a.progress.line("%s", s) },
				Train: a.trainEvents(&res, ""), Sample: a.sampleEvents(), Scan: a.decoding,
			})
			a.progress.clear()
			if err != nil {
				return err
			}
			if r.Stopped {
				a.printf("Stopped at step %d. Go on with: unnoise train --run %s --resume\n", r.Steps, quote(r.Run))
				return nil
			}
			a.printf("Trained for %d steps. %d new pictures: %s\n", r.Steps, demo.Samples, r.Grid)
			a.printf("The run: %s\n", r.Run)
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "folder to make (default: a new one in the user's data folder)")
	computeFlags(c, &compute)
	return c
}

func (a *app) runtime() *cobra.Command {
	c := &cobra.Command{
		Use:   "runtime",
		Short: "The ONNX Runtime library that does the computing",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var file string
	install := &cobra.Command{
		Use:   "install",
		Short: "Fetch the library, once, with the npm program",
		Long: `Install fetches ONNX Runtime ` + ortlib.Version + ` with the npm program, checks it against its pinned
SHA-256, and puts it into the user's cache folder. Nothing else in Unnoise uses the network. Without npm or a
network, name the package's archive, or the library itself, with --file.`,
		Example: "  unnoise runtime install\n  unnoise runtime install --file onnxruntime-node-" + ortlib.Version + ".tgz",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report := func(done, total int64, what string) { a.progress.show(what, done, total, "", 0) }
			get := func() (ortlib.Library, error) { return ortlib.Install(cmd.Context(), report) }
			if file != "" {
				get = func() (ortlib.Library, error) { return ortlib.InstallFrom(cmd.Context(), file, report) }
			}
			lib, err := get()
			a.progress.clear()
			if err != nil {
				return err
			}
			a.printf("ONNX Runtime %s: %s\n", lib.Version, lib.Path)
			return nil
		},
	}
	install.Flags().StringVar(&file, "file", "", "take the library from this file instead of the network")
	c.AddCommand(install, &cobra.Command{
		Use:     "path",
		Short:   "Print where the library is",
		Example: "  unnoise runtime path",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lib, err := ortlib.Find(cmd.Context())
			if err != nil {
				return err
			}
			a.printf("%s\n", lib.Path)
			return nil
		},
	})
	return c
}

// versionInfo is what version --json prints.
type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Runtime  string `json:"onnxruntime,omitempty"`
	Library  string `json:"library,omitempty"`
	Problem  string `json:"problem,omitempty"`
}

func (a *app) version() *cobra.Command {
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of the program and its runtime library",
		Example: "  unnoise version --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versionInfo{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if lib, err := ortlib.Find(cmd.Context()); err != nil {
				v.Problem = oneLine(err)
			} else {
				v.Runtime, v.Library = lib.Version, lib.Path
			}
			if a.json {
				return a.printJSON(v)
			}
			a.printf("Unnoise %s (%s), %s, %s\n", v.Version, v.Commit, strings.TrimPrefix(v.Go, "go"), v.Platform)
			if v.Problem != "" {
				a.printf("ONNX Runtime: %s\n", v.Problem)
			} else {
				a.printf("ONNX Runtime %s: %s\n", v.Runtime, v.Library)
			}
			return nil
		},
	}
	a.jsonFlag(c)
	return c
}
