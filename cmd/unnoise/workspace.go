package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"unnoise/app/studio"
	"unnoise/runtime/durable"
)

// attached adds a subcommand that reads the workspace, beside the window that may be open on it.
func (a *app) attached(use, short, long, example string, do func(ctx context.Context, s *studio.Studio) error) *cobra.Command {
	c := a.action(use, short, example, 0, 0, func(ctx context.Context, s *studio.Studio, _ []string) error { return do(ctx, s) })
	c.Long, c.Args = long, noArgs
	a.jsonFlag(c)
	return c
}

// list prints things as JSON, one row each, or as a table with a line of cells each below the head.
func list[T, Row any](a *app, things []T, row func(T) Row, head []any, cells func(T) []any) error {
	if a.json {
		out := make([]Row, len(things))
		for i, t := range things {
			out[i] = row(t)
		}
		return a.printJSON(out)
	}
	rows := [][]any{head}
	for _, t := range things {
		rows = append(rows, cells(t))
	}
	return a.table(rows)
}

// table prints rows of columns, the first row being their names.
func (a *app) table(rows [][]any) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		for i, v := range r {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, visibleArgs([]any{v})...)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func (a *app) runs() *cobra.Command {
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
	return a.attached("runs", "List the workspace's runs",
		"Runs lists the runs in the workspace, the newest first, those of the window included.",
		"  unnoise runs\n  unnoise runs --workspace ~/Unnoise --json",
		func(ctx context.Context, s *studio.Studio) error {
			all, err := s.Runs.List(ctx, studio.RunFilter{})
			if err != nil {
				return err
			}
			paths := make(map[string]string, len(all))
			for _, r := range all {
				if paths[r.ID], err = s.Runs.Path(ctx, r.ID); err != nil {
					return err
				}
			}
			return list(a, all, func(r studio.Run) row {
				return row{r.ID, r.Name, string(r.State), r.Dataset, r.Preset, r.Step, r.Steps, paths[r.ID]}
			}, []any{"RUN", "STATE", "STEP", "PRESET", "DATASET", "NAME"}, func(r studio.Run) []any {
				return []any{r.ID, r.State, fmt.Sprintf("%d/%d", r.Step, r.Steps), r.Preset, r.Dataset, r.Name}
			})
		})
}

func (a *app) galleries() *cobra.Command {
	type row struct {
		ID      string `json:"id"`
		Name    string `json:"name"`
		Images  int    `json:"images"`
		Starred int    `json:"starred"`
		Run     string `json:"run"`
	}
	return a.attached("galleries", "List the workspace's galleries",
		"Galleries lists the galleries in the workspace, the newest first.",
		"  unnoise galleries --json",
		func(ctx context.Context, s *studio.Studio) error {
			all, err := s.Galleries.List(ctx)
			if err != nil {
				return err
			}
			return list(a, all, func(g studio.Gallery) row {
				return row{g.ID, g.Name, g.Images, g.Starred, g.Run}
			}, []any{"GALLERY", "IMAGES", "STARRED", "RUN", "NAME"}, func(g studio.Gallery) []any {
				return []any{g.ID, g.Images, g.Starred, g.Run, g.Name}
			})
		})
}

func (a *app) datasets() *cobra.Command {
	type row struct {
		ID       string       `json:"id"`
		Name     string       `json:"name"`
		Source   durable.Path `json:"source"`
		Kind     string       `json:"kind"`
		Pictures int          `json:"pictures"`
		Excluded int          `json:"excluded"`
		Bad      int          `json:"bad"`
		Classes  int          `json:"classes"`
	}
	return a.attached("datasets", "List the workspace's datasets",
		"Datasets lists the datasets in the workspace, the newest first.",
		"  unnoise datasets --json",
		func(ctx context.Context, s *studio.Studio) error {
			all, err := s.Datasets.List(ctx)
			if err != nil {
				return err
			}
			return list(a, all, func(d studio.Dataset) row {
				return row{d.ID, d.Name, d.Source, d.Kind, d.Items, d.Excluded, d.Bad, len(d.Classes)}
			}, []any{"DATASET", "PICTURES", "CLASSES", "SET ASIDE", "SOURCE"}, func(d studio.Dataset) []any {
				return []any{d.ID, d.Items - d.Excluded, len(d.Classes), d.Bad, d.Source}
			})
		})
}

func (a *app) queue() *cobra.Command {
	type row struct {
		ID      string              `json:"id"`
		Request studio.TrainRequest `json:"request"`
		Run     string              `json:"run,omitempty"`
		Added   time.Time           `json:"added"`
		Error   string              `json:"error,omitempty"`
	}
	return a.attached("queue", "List the trainings that wait in the workspace",
		"Queue lists what waits to be trained, the next first. The window trains it.",
		"  unnoise queue --json",
		func(_ context.Context, s *studio.Studio) error {
			return list(a, s.Training.Queue(), func(q studio.QueueEntry) row {
				return row{q.ID, q.Request, q.Run, q.Added, q.Error.String()}
			}, []any{"ENTRY", "DATASET", "PRESET", "STEPS", "RUN", "ADDED"}, func(q studio.QueueEntry) []any {
				return []any{q.ID, q.Request.Dataset, q.Request.Preset, q.Request.Steps, q.Run, q.Added.Format("2006-01-02 15:04")}
			})
		})
}
