package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"unnoise/app/studio"
)

// checkResult is what check --json prints.
type checkResult struct {
	Path        string        `json:"path"`
	Whole       bool          `json:"whole"`
	Runs        int           `json:"runs"`
	Checkpoints int           `json:"checkpoints"`
	Records     int           `json:"log_lines"`
	Pictures    int           `json:"pictures"`
	Unhashed    int           `json:"pictures_without_hash"`
	Foreign     int           `json:"other_pictures"`
	Datasets    int           `json:"datasets"`
	Caches      int           `json:"decoded"`
	Models      int           `json:"models"`
	Deleted     int           `json:"deleted"`
	Bytes       int64         `json:"bytes"`
	Debris      int           `json:"temporary_files"`
	Findings    []findingJSON `json:"findings"`
}

type findingJSON struct {
	Path  string `json:"path"`
	State string `json:"state"`
	What  string `json:"what"`
	Do    string `json:"do"`
}

func (a *app) check() *cobra.Command {
	var (
		workspace, run string
		mend           bool
	)
	c := &cobra.Command{
		Use:   "check",
		Short: "Compare all checkpoints, pictures and datasets with their hashes",
		Long: `Check reads every checkpoint, picture and dataset of the workspace, or of one run, and
compares it with the hash it was saved with. It says what is whole, what is lost and
what to do, and ends with exit code 0 only if everything is whole.

--repair makes good what can be: a run's description from the copy in its checkpoints,
a log without its damaged lines, the index from the folders. What a file was before is
kept beside it, and temporary files that a killed process left are removed. Nothing is
removed that cannot be made again.`,
		Example: `  unnoise check
  unnoise check --run runs/sprites --repair
  unnoise check --workspace ~/Unnoise --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			studio.SetVersion(version)
			var rep *studio.CheckReport
			var err error
			switch {
			case run == "" && cmd.Flags().Changed("run"): // as from a script's empty variable
				return usage("--run is missing; “%s --help” shows how to use it", cmd.CommandPath())
			case run != "" && workspace != "":
				return usage("give --run or --workspace, not both")
			case run != "":
				rep, err = studio.CheckRun(cmd.Context(), run, mend, a.working)
			default:
				var dir string
				if dir, err = workspaceDir(workspace); err == nil {
					rep, err = studio.Check(cmd.Context(), dir, mend, a.working)
				}
			}
			a.progress.clear()
			if err != nil {
				return err
			}
			if err := a.printCheck(rep); err != nil {
				return err
			}
			if !rep.Whole() {
				return errors.New("not everything is whole: " + rep.Summary().String())
			}
			return nil
		},
	}
	c.Flags().StringVar(&workspace, "workspace", "", "folder of the workspace (default: the one in the settings)")
	c.Flags().StringVar(&run, "run", "", "folder of a run, to look at it alone")
	c.Flags().BoolVar(&mend, "repair", false, "make good what can be")
	a.jsonFlag(c)
	return c
}

func (a *app) printCheck(rep *studio.CheckReport) error {
	if a.json {
		out := checkResult{
			Path: rep.Path, Whole: rep.Whole(), Runs: rep.Runs, Checkpoints: rep.Checkpoints, Records: rep.Records,
			Pictures: rep.Pictures, Unhashed: rep.Unhashed, Foreign: rep.Foreign, Datasets: rep.Datasets, Caches: rep.Caches,
			Models: rep.Models, Deleted: rep.Deleted, Bytes: rep.Bytes, Debris: rep.Debris, Findings: []findingJSON{},
		}
		for _, f := range rep.Findings {
			out.Findings = append(out.Findings, findingJSON{f.Path, string(f.State), f.What.String(), f.Do.String()})
		}
		return a.printJSON(out)
	}
	for _, f := range rep.Findings {
		path := f.Path
		if rel, err := filepath.Rel(rep.Path, path); err == nil && filepath.IsLocal(rel) {
			path = rel
		}
		fmt.Fprintf(a.out, "%-9s %s\n          %s\n          %s\n", strings.ToUpper(string(f.State)), path, oneLine(f.What), oneLine(f.Do))
	}
	fmt.Fprintf(a.out, "%s: %s read: %d runs with %d checkpoints and %d log lines, %d pictures (%d of older versions, without a hash), "+
		"%d datasets with %d decoded, %d models, %d deletions in the trash\n", rep.Path, humanize.Bytes(uint64(rep.Bytes)),
		rep.Runs, rep.Checkpoints, rep.Records, rep.Pictures, rep.Unhashed, rep.Datasets, rep.Caches, rep.Models, rep.Deleted)
	if rep.Foreign > 0 {
		fmt.Fprintf(a.out, "%d pictures are not of Unnoise and were passed over\n", rep.Foreign)
	}
	if rep.Debris > 0 {
		fmt.Fprintf(a.out, "%d temporary files, of work under way or cut short\n", rep.Debris)
	}
	if rep.Whole() {
		fmt.Fprintln(a.out, rep.Summary())
	}
	return nil
}
