package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"unnoise/app/studio"
)

// workspaceDir is the workspace's folder: the one that is named, else the usual one. Where the settings cannot say which
// that is, none is taken for it.
func workspaceDir(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	dir, err := studio.DefaultDir()
	if err != nil {
		return "", fmt.Errorf("%w; or name the workspace with --workspace", err)
	}
	return dir, nil
}

// action adds a subcommand that changes the workspace and takes from least to most words (most < 0: any number).
func (a *app) action(use, short, example string, least, most int, do func(ctx context.Context, s *studio.Studio, args []string) error) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: use, Short: short, Example: example,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < least || (most >= 0 && len(args) > most) {
				return usage("it is used as “%s”; “%s --help” shows more", cmd.UseLine(), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if dir, err = workspaceDir(dir); err != nil {
				return err
			}
			studio.SetVersion(version)
			s, err := studio.Attach(cmd.Context(), dir)
			if err != nil {
				return err
			}
			defer func() {
				a.progress.clear()
				err = errors.Join(err, s.Close(context.WithoutCancel(cmd.Context())))
			}()
			for _, n := range s.Unheard() { // what could not be read is in no list
				a.tell(n.Text)
			}
			return do(cmd.Context(), s, args)
		},
	}
	c.Flags().StringVar(&dir, "workspace", "", "folder of the workspace (default: the one in the settings)")
	return c
}

// with adds subcommands to a command.
func with(c *cobra.Command, more ...*cobra.Command) *cobra.Command {
	c.AddCommand(more...)
	return c
}

// working shows the progress of what the workspace does.
func (a *app) working(p studio.Progress) {
	a.progress.show(p.Phase.String(), p.Done, p.Total, p.Item, p.ETA)
}

func (a *app) datasetImport() *cobra.Command {
	var name string
	c := a.action("import PATH", "Add a folder, .zip or IDX file as a dataset; nothing is copied",
		"  unnoise datasets import ~/Pictures/sprites --name Sprites", 1, 1,
		func(ctx context.Context, s *studio.Studio, args []string) error {
			d, err := s.Datasets.Import(ctx, args[0], name, a.working)
			a.progress.clear()
			if err != nil {
				return err
			}
			a.printf("%s: %d pictures, %d set aside\n", d.ID, d.Items, d.Bad)
			return nil
		})
	c.Flags().StringVar(&name, "name", "", "what to call it (default: the name of the file)")
	return c
}

func (a *app) modelImport() *cobra.Command {
	var name string
	c := a.action("import PATH", "Take a diffusers model into the workspace, so that it can be sampled",
		"  unnoise import ~/models/ddpm-cifar10 --name CIFAR", 1, 1,
		func(ctx context.Context, s *studio.Studio, args []string) error {
			if err := needRuntime(ctx); err != nil {
				return err
			}
			m, err := s.Models.Import(ctx, args[0], name, a.working)
			a.progress.clear()
			if err != nil {
				return err
			}
			a.printf("%s: %s weights, pictures of %d × %d × %d\n", m.ID, humanize.Comma(m.Params), m.Width, m.Height, m.Channels)
			for _, n := range m.Notes {
				a.printf("%s\n", n)
			}
			return nil
		})
	c.Long = `Import copies the model of a diffusers pipeline (a folder with unet/ and scheduler/), or of a
UNet2DModel alone, into the workspace. All that its files say is checked first: what cannot
be used is refused by name, and nothing is written.`
	c.Flags().StringVar(&name, "name", "", "what to call it (default: the name of the folder)")
	return c
}

func (a *app) datasetDelete() *cobra.Command {
	return a.action("delete DATASET…", "Move datasets to the workspace's trash; their pictures stay where they are",
		"  unnoise datasets delete sprites", 1, -1,
		func(ctx context.Context, s *studio.Studio, args []string) error {
			return s.Datasets.Delete(ctx, args...)
		})
}

func (a *app) runDelete() *cobra.Command {
	return a.action("delete RUN…", "Move runs to the workspace's trash",
		"  unnoise runs delete 0007-sprites", 1, -1,
		func(ctx context.Context, s *studio.Studio, args []string) error { return s.Runs.Delete(ctx, args...) })
}

func (a *app) runNote() *cobra.Command {
	return a.action("note RUN TEXT", "Write the notes of a run",
		"  unnoise runs note 0007-sprites \"good from step 4000 on\"", 2, 2,
		func(ctx context.Context, s *studio.Studio, args []string) error {
			return s.Runs.SetNotes(ctx, args[0], args[1])
		})
}

func (a *app) galleryDelete() *cobra.Command {
	return a.action("delete GALLERY…", "Move galleries to the workspace's trash",
		"  unnoise galleries delete dragons", 1, -1,
		func(ctx context.Context, s *studio.Studio, args []string) error {
			return s.Galleries.Delete(ctx, args...)
		})
}

func (a *app) queueAdd() *cobra.Command {
	var req studio.TrainRequest
	c := a.action("add DATASET", "Put a training into the queue; the window trains it",
		"  unnoise queue add sprites --preset tiny --steps 5000", 1, 1,
		func(ctx context.Context, s *studio.Studio, args []string) error {
			full, err := s.Training.Defaults(ctx, args[0], req.Preset)
			if err != nil {
				return err
			}
			if req.Name != "" {
				full.Name = req.Name
			}
			if req.Steps > 0 {
				full.Steps = req.Steps
			}
			full.Seed = req.Seed
			id, err := s.Training.Enqueue(ctx, full)
			if err != nil {
				return err
			}
			a.printf("%s\n", id)
			return nil
		})
	c.Flags().StringVar(&req.Preset, "preset", "", "architecture and its settings (default: the usual one)")
	c.Flags().StringVar(&req.Name, "name", "", "what to call the run (default: the dataset's name)")
	c.Flags().Int64Var(&req.Steps, "steps", 0, "training steps (default: the preset's)")
	c.Flags().Uint64Var(&req.Seed, "seed", 0, "number that fixes everything that is drawn by chance")
	return c
}

func (a *app) queueContinue() *cobra.Command {
	var steps int64
	c := a.action("continue RUN", "Put the rest of a stopped run into the queue",
		"  unnoise queue continue 0007-sprites --steps 40000", 1, 1,
		func(ctx context.Context, s *studio.Studio, args []string) error {
			return s.Training.ContinueRun(ctx, args[0], steps)
		})
	c.Flags().Int64Var(&steps, "steps", 0, "new last step (default: the run's)")
	return c
}

func (a *app) queueRemove() *cobra.Command {
	return a.action("remove ENTRY…", "Take entries out of the queue",
		"  unnoise queue remove 5f0c2a9be1d3", 1, -1,
		func(ctx context.Context, s *studio.Studio, args []string) error {
			for _, id := range args {
				if err := s.Training.Remove(ctx, id); err != nil {
					return err
				}
			}
			return nil
		})
}
