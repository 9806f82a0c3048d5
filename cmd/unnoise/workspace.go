package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"unnoise/app/studio"
)

// attached adds a subcommand that reads the workspace, beside the window that may be open on it.
func (a *app) attached(use, short, long, example string, do func(ctx context.Context, s *studio.Studio) error) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if dir == "" {
				dir = studio.DefaultDir()
			}
			studio.SetVersion(version)
			s, err := studio.Attach(cmd.Context(), dir)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(cmd.Context()))) }()
			return do(cmd.Context(), s)
		},
	}
	c.Flags().StringVar(&dir, "workspace", "", "folder of the workspace (default: the one in the settings)")
	a.jsonFlag(c)
	return c
}

// table prints rows of columns, the first row being their names.
func (a *app) table(rows [][]any) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		for i, v := range r {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, v)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func (a *app) runs() *cobra.Command {
	return a.attached("runs", "List the workspace's runs",
		"Runs lists the runs in the workspace, the newest first, those of the window included.",
		"  unnoise runs\n  unnoise runs --workspace ~/Unnoise --json",
		func(ctx context.Context, s *studio.Studio) error {
			list, err := s.Runs.List(ctx, studio.RunFilter{})
			if err != nil {
				return err
			}
			if a.json {
				type row struct {
					ID      string `json:"id"`
					Name    string `json:"name"`
					State   string `json:"state"`
					Dataset string `json:"dataset"`
					Preset  string `json:"preset"`
					Step    int64  `json:"step"`
					Steps   int64  `json:"steps"`
					Path    string `json:"path"`
				}
				out := make([]row, len(list))
				for i, r := range list {
					path, err := s.Runs.Path(ctx, r.ID)
					if err != nil {
						return err
					}
					out[i] = row{r.ID, r.Name, string(r.State), r.Dataset, r.Preset, r.Step, r.Steps, path}
				}
				return a.printJSON(out)
			}
			rows := [][]any{{"RUN", "STATE", "STEP", "PRESET", "DATASET", "NAME"}}
			for _, r := range list {
				rows = append(rows, []any{r.ID, r.State, fmt.Sprintf("%d/%d", r.Step, r.Steps), r.Preset, r.Dataset, r.Name})
			}
			return a.table(rows)
		})
}

func (a *app) galleries() *cobra.Command {
	return a.attached("galleries", "List the workspace's galleries",
		"Galleries lists the galleries in the workspace, the newest first.",
		"  unnoise galleries --json",
		func(ctx context.Context, s *studio.Studio) error {
			list, err := s.Galleries.List(ctx)
			if err != nil {
				return err
			}
			if a.json {
				type row struct {
					ID      string `json:"id"`
					Name    string `json:"name"`
					Images  int    `json:"images"`
					Starred int    `json:"starred"`
					Run     string `json:"run"`
				}
				out := make([]row, len(list))
				for i, g := range list {
					out[i] = row{g.ID, g.Name, g.Images, g.Starred, g.Run}
				}
				return a.printJSON(out)
			}
			rows := [][]any{{"GALLERY", "IMAGES", "STARRED", "RUN", "NAME"}}
			for _, g := range list {
				rows = append(rows, []any{g.ID, g.Images, g.Starred, g.Run, g.Name})
			}
			return a.table(rows)
		})
}

func (a *app) datasets() *cobra.Command {
	return a.attached("datasets", "List the workspace's datasets",
		"Datasets lists the datasets in the workspace, the newest first.",
		"  unnoise datasets --json",
		func(ctx context.Context, s *studio.Studio) error {
			list, err := s.Datasets.List(ctx)
			if err != nil {
				return err
			}
			if a.json {
				type row struct {
					ID       string `json:"id"`
					Name     string `json:"name"`
					Source   string `json:"source"`
					Kind     string `json:"kind"`
					Pictures int    `json:"pictures"`
					Excluded int    `json:"excluded"`
					Bad      int    `json:"bad"`
					Classes  int    `json:"classes"`
				}
				out := make([]row, len(list))
				for i, d := range list {
					out[i] = row{d.ID, d.Name, d.Source, d.Kind, d.Items, d.Excluded, d.Bad, len(d.Classes)}
				}
				return a.printJSON(out)
			}
			rows := [][]any{{"DATASET", "PICTURES", "CLASSES", "SET ASIDE", "SOURCE"}}
			for _, d := range list {
				rows = append(rows, []any{d.ID, d.Items - d.Excluded, len(d.Classes), d.Bad, d.Source})
			}
			return a.table(rows)
		})
}

func (a *app) queue() *cobra.Command {
	return a.attached("queue", "List the trainings that wait in the workspace",
		"Queue lists what waits to be trained, the next first. The window trains it.",
		"  unnoise queue --json",
		func(_ context.Context, s *studio.Studio) error {
			list := s.Training.Queue()
			if a.json {
				type row struct {
					ID      string              `json:"id"`
					Request studio.TrainRequest `json:"request"`
					Run     string              `json:"run,omitempty"`
					Added   time.Time           `json:"added"`
					Error   string              `json:"error,omitempty"`
				}
				out := make([]row, len(list))
				for i, q := range list {
					out[i] = row{q.ID, q.Request, q.Run, q.Added, q.Error}
				}
				return a.printJSON(out)
			}
			rows := [][]any{{"ENTRY", "DATASET", "PRESET", "STEPS", "RUN", "ADDED"}}
			for _, q := range list {
				rows = append(rows, []any{q.ID, q.Request.Dataset, q.Request.Preset, q.Request.Steps, q.Run, q.Added.Format("2006-01-02 15:04")})
			}
			return a.table(rows)
		})
}
