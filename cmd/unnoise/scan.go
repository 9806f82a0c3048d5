package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"unnoise/app/datasets"
	"unnoise/pipeline/data"
)

func (a *app) scan() *cobra.Command {
	c := &cobra.Command{
		Use:   "scan DIR",
		Short: "Look at a folder of pictures and report what is there",
		Long: `Scan looks at every picture in a folder (and the folders in it), a .zip archive, or
IDX files, and reports how many there are, their sizes and classes, near-duplicates,
and the files that cannot be used, each with its reason. It changes nothing.

Classes are the first level of folders; without folders there are none. Folders that
divide the pictures, such as train, test and val, are no classes: what is for testing and
validating is held out of training. Folders of the system and what Unnoise drew itself
are passed over.`,
		Example: `  unnoise scan ~/Pictures/sprites
  unnoise scan sprites.zip --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("scan takes one folder, archive or IDX file, such as “unnoise scan ~/Pictures”")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			rep, err := data.Scan(cmd.Context(), args[0], a.decoding)
			a.progress.clear()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(rep)
			}
			a.printReport(rep)
			return nil
		},
	}
	a.jsonFlag(c)
	return c
}

// decoding shows the progress of a scan or of decoding.
func (a *app) decoding(p data.Progress) {
	a.progress.show(p.What, int64(p.Done), int64(p.Total), "", 0)
}

const maxListed = 20

func (a *app) printReport(rep *data.Report) {
	p := func(format string, args ...any) { a.printf(format+"\n", args...) }
	p("%s: %d usable pictures", rep.Path, len(rep.Items))
	if len(rep.Classes) > 0 {
		p("Classes:")
		for _, c := range firstOf(rep.Classes) {
			p("  %-20s %d", c.Name, c.Count)
		}
		a.more(len(rep.Classes))
	}
	if parts := rep.Parts(); len(parts) > 0 {
		var each []string
		for _, c := range parts {
			held := ""
			if c.Name != data.TrainPart {
				held = " (held out)"
			}
			each = append(each, fmt.Sprintf("%d to %s%s", c.Count, c.Name, held))
		}
		p("Parts, by their folders: %s", strings.Join(each, ", "))
	}
	p("Sizes:")
	for _, s := range rep.Sizes[:min(5, len(rep.Sizes))] {
		p("  %-20s %d", fmt.Sprintf("%d × %d", s.Width, s.Height), s.Count)
	}
	if n := len(rep.Sizes); n > 5 {
		p("  and %d other sizes", n-5)
	}
	if len(rep.Duplicates) > 0 {
		p("Near-duplicates (%d groups):", len(rep.Duplicates))
		for _, g := range firstOf(rep.Duplicates) {
			p("  %s", strings.Join(firstOf(g), ", "))
		}
		a.more(len(rep.Duplicates))
	}
	if len(rep.Bad) > 0 {
		p("Files set aside (%d):", len(rep.Bad))
		for _, b := range firstOf(rep.Bad) {
			p("  %s: %s", b.Name, b.Reason)
		}
		a.more(len(rep.Bad))
	}
	if len(rep.Passed) > 0 {
		p("Passed over:")
		for _, k := range firstOf(rep.Passed) {
			p("  %s", k.Text())
		}
		a.more(len(rep.Passed))
	}
	s := datasets.Suggest(rep)
	p("Suggested for training: --size %s --channels %d", sizeFlag{s.Width, s.Height}.String(), s.Channels)
}

func firstOf[T any](s []T) []T { return s[:min(maxListed, len(s))] }

func (a *app) more(n int) {
	if n > maxListed {
		a.printf("  and %d more; --json lists all\n", n-maxListed)
	}
}
