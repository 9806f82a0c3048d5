package studio

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"unnoise/app/disk"
	"unnoise/app/events"
	"unnoise/app/galleries"
	"unnoise/app/library"
	"unnoise/app/runs"
	"unnoise/app/workspace"
	"unnoise/pipeline/imports"
	"unnoise/pipeline/model"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
)

const (
	importedPrefix = "model:"
	modelVersion   = 1
	modelName      = "model.json"
	weightsName    = "weights.safetensors"
)

// modelFile is model.json: an imported model's description.
type modelFile struct {
	Version  int        `json:"version"`
	Name     string     `json:"name"`
	Source   string     `json:"source"` // the folder it was imported from
	Imported time.Time  `json:"imported"`
	Spec     model.Spec `json:"spec"`
	Notes    []Text     `json:"notes,omitempty"`          // what was taken for granted
	SHA256   string     `json:"weights_sha256,omitempty"` // of the weights' file; older versions did not keep it
}

func readModel(dir string) (modelFile, error) {
	var m modelFile
	path := filepath.Join(dir, modelName)
	if err := disk.ReadJSON(path, maxDatasetFile, &m); err != nil {
		return m, err
	}
	if m.Version > modelVersion {
		return m, newer(path, m.Version, modelVersion)
	}
	if err := m.Spec.Validate(); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// modelDir is the folder of an imported model.
func (e *env) modelDir(id string) (string, error) {
	dir, err := workspace.Child(e.ws.Models(), strings.TrimPrefix(id, importedPrefix))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, modelName)); err != nil {
		return "", e.missing(events.T("model"), id)
	}
	return dir, nil
}

// spec describes a model without loading its weights.
func (c *core) spec(_ context.Context, id string) (model.Spec, error) {
	e, err := c.use()
	if err != nil {
		return model.Spec{}, err
	}
	if strings.HasPrefix(id, importedPrefix) {
		dir, err := e.modelDir(id)
		if err != nil {
			return model.Spec{}, err
		}
		m, err := readModel(dir)
		return m.Spec, err
	}
	run, err := e.openRun(id)
	if err != nil {
		return model.Spec{}, err
	}
	return run.Info().Model, nil
}

// modelName is what a person calls a model.
func (e *env) modelName(id string) string {
	if run, err := e.openRun(id); err == nil {
		return run.Info().Name
	}
	if dir, err := e.modelDir(id); err == nil {
		if info, err := readModel(dir); err == nil {
			return info.Name
		}
	}
	return id
}

// load reads a model with its weights. Its name, which goes into the pictures' metadata, is its ID: names of runs can
// change and need not differ.
func (c *core) load(ctx context.Context, id string, step int64, weights string) (galleries.Model, error) {
	e, err := c.use()
	if err != nil {
		return galleries.Model{}, err
	}
	if !strings.HasPrefix(id, importedPrefix) {
		run, err := e.openRun(id)
		if err != nil {
			return galleries.Model{}, err
		}
		m, err := galleries.FromRun(run, step, weights)
		m.Name = id
		return m, err
	}
	dir, err := e.modelDir(id)
	if err != nil {
		return galleries.Model{}, err
	}
	info, err := readModel(dir)
	if err != nil {
		return galleries.Model{}, err
	}
	if err := ctx.Err(); err != nil {
		return galleries.Model{}, err
	}
	flat, err := imports.ReadWeights(filepath.Join(dir, weightsName), info.Spec)
	if err != nil {
		return galleries.Model{}, err
	}
	return galleries.Model{Name: id, Spec: info.Spec, Weights: flat, WeightsName: train.RawName}, nil
}

// compute is what networks run on, as the settings say.
func (c *core) compute() model.Compute {
	s := c.settings.Get()
	return model.Compute{Threads: s.Threads, Device: s.Device}
}

// findModel is the ID of the model that an image names: an ID, or the name of a run made from the command line.
func (c *core) findModel(ctx context.Context, name string) (string, error) {
	e, err := c.use()
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(name, importedPrefix) {
		if _, err := e.modelDir(name); err == nil {
			return name, nil
		}
	} else if name != "" {
		if _, err := e.run(name); err == nil {
			return name, nil
		}
		rows, err := e.lib.Runs(ctx, library.RunQuery{Search: name})
		if err != nil {
			return "", err
		}
		for _, r := range rows {
			if r.Name == name {
				return r.ID, nil
			}
		}
	}
	return "", events.T("The model “{{.Name}}” that made this image is not in the workspace.", "Name", name)
}

type modelService struct{ *core }

func (s modelService) List(ctx context.Context) ([]Model, error) {
	e, err := s.use()
	if err != nil {
		return nil, err
	}
	rows, err := e.lib.Runs(ctx, library.RunQuery{HasCheckpoint: true, Order: "updated"})
	if err != nil {
		return nil, err
	}
	var out []Model
	for _, r := range rows {
		m := Model{
			ID: r.ID, Name: r.Name, Source: r.Dataset, Preset: r.Preset, Params: r.Params, Width: r.Width, Height: r.Height, Channels: r.Channels,
			Newest: r.Checkpoint, Weights: []string{train.EMAName, train.RawName}, Created: r.Created, Bytes: r.Bytes,
		}
		if r.Grid >= 0 {
			m.Cover = Ref{Kind: SampleGrid, Owner: r.ID, Index: int(r.Grid), Name: r.GridName}
		}
		out = append(out, m)
	}
	ids, err := workspace.Subfolders(e.ws.Models())
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		m, err := s.imported(ctx, e, importedPrefix+id)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			s.log.Warn("a model was left out", "model", id, "error", err)
			continue
		}
		out = append(out, m)
	}
	return out, nil
}

func (s modelService) imported(ctx context.Context, e *env, id string) (Model, error) {
	dir, err := e.modelDir(id)
	if err != nil {
		return Model{}, err
	}
	f, err := readModel(dir)
	if err != nil {
		return Model{}, err
	}
	size, err := workspace.FolderSize(ctx, dir)
	if err != nil {
		return Model{}, err
	}
	m := Model{ID: id, Name: f.Name, Imported: true, Source: f.Source, Weights: []string{train.RawName}, Created: f.Imported, Bytes: size}
	m.describe(f.Spec)
	m.Provenance = append([]Fact{
		{events.T("Imported from"), f.Source},
		{events.T("Imported on"), f.Imported.Local().Format("2006-01-02 15:04")},
	}, m.Provenance...)
	m.Notes = f.Notes
	return m, nil
}

// describe fills in what the model's description says.
func (m *Model) describe(s model.Spec) {
	m.Objective, m.Schedule, m.Preset, m.Classes = string(s.Objective), s.ScheduleName(), s.Preset, s.Classes
	m.Params = int64(s.UNet.NumParams())
	m.Width, m.Height = s.UNet.Size()
	m.Channels = s.UNet.InChannels
	m.Provenance = append(m.Provenance,
		Fact{events.T("Objective"), m.Objective}, Fact{events.T("Noise schedule"), m.Schedule},
		Fact{events.T("Levels of the network"), fmt.Sprint(s.UNet.BlockOutChannels)},
	)
}

func (s modelService) Get(ctx context.Context, id string) (Model, error) {
	e, err := s.use()
	if err != nil {
		return Model{}, err
	}
	if strings.HasPrefix(id, importedPrefix) {
		return s.imported(ctx, e, id)
	}
	run, err := e.openRun(id)
	if err != nil {
		return Model{}, err
	}
	row, err := readRun(run.Dir, id)
	if err != nil {
		return Model{}, err
	}
	info := run.Info()
	m := Model{
		ID: id, Name: row.Name, Source: row.Dataset, Newest: row.Checkpoint, Weights: []string{train.EMAName, train.RawName},
		Created: row.Created, Bytes: row.Bytes, Cover: s.summary(row).Cover,
	}
	m.describe(info.Model)
	m.Provenance = append(provenance(info), m.Provenance...)
	return m, nil
}

func provenance(i runs.Info) []Fact {
	facts := []Fact{
		{events.T("Trained on"), i.Data.Path.String()},
		{events.T("Images"), strconv.Itoa(i.Data.Images)},
		{events.T("Seed"), strconv.FormatUint(i.Train.Seed, 10)},
		{events.T("Begun"), i.Created.Local().Format("2006-01-02 15:04")},
		{events.T("Unnoise"), i.Program},
	}
	if i.FromRun != "" {
		facts = append(facts, Fact{events.T("Settings from"), i.FromRun})
	}
	return facts
}

// checkpoints is the one that an imported model has.
func (s modelService) checkpoints(ctx context.Context, id string) ([]Checkpoint, error) {
	m, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return []Checkpoint{{Step: 0, Time: m.Created, Bytes: m.Bytes, Weights: m.Weights, HeldOut: math.NaN()}}, nil
}

func (s modelService) Import(ctx context.Context, path, name string, progress ProgressFunc) (Model, error) {
	ctx, e, done, err := s.work(ctx)
	if err != nil {
		return Model{}, err
	}
	defer done()
	abs, err := filepath.Abs(path)
	if err != nil {
		return Model{}, err
	}
	if name == "" {
		name = filepath.Base(abs)
	}
	if name, err = workspace.CleanName(name); err != nil {
		return Model{}, err
	}
	what := events.T("Import of “{{.Name}}”", "Name", name)
	defer s.note(e, what, filepath.Join(e.ws.Models(), workspace.FolderName(name)))()
	newMeter(progress, events.T("Reading the model")).at(0, 3, "")
	m, err := imports.Diffusers(abs)
	if err != nil {
		return Model{}, err
	}
	if err := ctx.Err(); err != nil {
		return Model{}, err
	}
	if err := disk.Require(disk.Free, e.ws.Models(), 4*int64(len(m.Weights)), events.T("the model")); err != nil {
		return Model{}, err
	}
	// A model that cannot be run is not taken in.
	newMeter(progress, events.T("Trying the model")).at(1, 3, "")
	sm, err := galleries.NewSampler(ctx, galleries.Model{Name: name, Spec: m.Spec, Weights: m.Weights, WeightsName: train.RawName}, 1, s.compute())
	if err != nil {
		return Model{}, forPeople(err)
	}
	if err := sm.Close(); err != nil {
		return Model{}, err
	}
	newMeter(progress, events.T("Saving the model")).at(2, 3, "")
	f := modelFile{Version: modelVersion, Name: name, Source: abs, Imported: time.Now().UTC().Truncate(time.Second), Spec: m.Spec, Notes: m.Notes}
	folder, err := workspace.MakeUnique(e.ws.Models(), workspace.FolderName(name), func(dir string) error { return writeModel(dir, f, m.Weights) })
	if err != nil {
		return Model{}, unsaved(events.T("the model"), err)
	}
	newMeter(progress, events.T("Saving the model")).at(3, 3, "")
	id := importedPrefix + folder
	s.did(what, func(ctx context.Context) error { return s.trashModel(ctx, id, false) })
	s.bus.Publish(events.ModelsChanged{})
	return s.Get(ctx, id)
}

func writeModel(dir string, f modelFile, weights []float32) error {
	folder, err := durable.Disk{}.NewFolder(dir)
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := folder.Write(weightsName, func(w io.Writer) error {
		return imports.WriteWeights(io.MultiWriter(w, sum), f.Spec, weights)
	}); err != nil {
		return errors.Join(err, folder.Discard())
	}
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	if _, err := folder.Write(modelName, func(w io.Writer) error { return json.NewEncoder(w).Encode(f) }); err != nil {
		return errors.Join(err, folder.Discard())
	}
	if err := folder.Commit(); err != nil {
		return errors.Join(err, folder.Discard())
	}
	return nil
}

func (s modelService) Rename(ctx context.Context, id, name string) error {
	if !strings.HasPrefix(id, importedPrefix) {
		return runService{core: s.core}.SetName(ctx, id, name)
	}
	name, err := workspace.CleanName(name)
	if err != nil {
		return err
	}
	e, done, err := s.change()
	if err != nil {
		return err
	}
	defer done()
	dir, err := e.modelDir(id)
	if err != nil {
		return err
	}
	f, err := readModel(dir)
	if err != nil {
		return err
	}
	f.Name = name
	if err := disk.WriteJSON(filepath.Join(dir, modelName), f); err != nil {
		return unsaved(events.T("the model"), err)
	}
	s.bus.Publish(events.ModelsChanged{})
	return nil
}

func (s modelService) Delete(ctx context.Context, ids ...string) error {
	var errs []error
	for _, id := range ids {
		if !strings.HasPrefix(id, importedPrefix) {
			errs = append(errs, runService{core: s.core}.Delete(ctx, id))
			continue
		}
		errs = append(errs, s.trashModel(ctx, id, true))
	}
	return errors.Join(errs...)
}

func (s modelService) trashModel(_ context.Context, id string, undo bool) error {
	e, done, err := s.change()
	if err != nil {
		return err
	}
	defer done()
	dir, err := e.modelDir(id)
	if err != nil {
		return err
	}
	name := id
	if f, err := readModel(dir); err == nil {
		name = f.Name
	}
	after := func(context.Context, *env) error {
		s.bus.Publish(events.ModelsChanged{})
		return nil
	}
	if undo {
		err = s.discard(e, "model", name, events.T("Deletion of the model “{{.Name}}”", "Name", name), after, dir)
	} else {
		_, err = e.bin.Put("model", name, dir)
	}
	if err != nil {
		return err
	}
	s.bus.Publish(events.ModelsChanged{})
	return nil
}

func (s modelService) Path(_ context.Context, id string) (string, error) {
	e, err := s.use()
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(id, importedPrefix) {
		return e.modelDir(id)
	}
	return e.run(id)
}
