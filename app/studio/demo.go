package studio

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"time"

	"unnoise/app/demo"
	"unnoise/app/events"
	"unnoise/app/workspace"
	pictures "unnoise/resources/demo"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// demoPictures is the folder of the demo's pictures within its dataset's.
const demoPictures = "pictures"

func (s datasetService) ImportDemo(ctx context.Context, progress ProgressFunc) (Dataset, error) {
	all, err := s.List(ctx)
	if err != nil {
		return Dataset{}, err
	}
	for _, d := range all {
		if d.Kind == "demo" && !d.Missing {
			return d, nil
		}
	}
	ctx, e, done, err := s.work(ctx)
	if err != nil {
		return Dataset{}, err
	}
	defer done()
	defer s.note(e, events.T("Import of “{{.Name}}”", "Name", "Demo"), filepath.Join(e.ws.Datasets(), "demo"))()
	tmp, release, err := durable.TempDir(filepath.Join(e.ws.Datasets(), "demo"))
	if err != nil {
		return Dataset{}, unsaved(events.T("the demo"), err)
	}
	defer release()
	defer func() { _ = os.RemoveAll(tmp) }() // nothing is left there when all went well
	if err := os.Chmod(tmp, 0o755); err != nil {
		return Dataset{}, unsaved(events.T("the demo"), err)
	}
	newMeter(progress, events.T("Drawing the pictures")).at(0, 0, "")
	if err := pictures.Write(ctx, filepath.Join(tmp, demoPictures), demo.Images, demo.Seed); err != nil {
		return Dataset{}, sentence.Errorf("the demo's pictures cannot be drawn: %w", err)
	}
	rep, err := scanSource(ctx, filepath.Join(tmp, demoPictures), progress)
	if err != nil {
		return Dataset{}, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	info := datasetFile{Version: datasetVersion, Name: "Demo", Source: demoPictures, Demo: true, Added: now, Scanned: now, HeldOut: usualHeldOut}
	for file, v := range map[string]any{reportName: rep, datasetName: info} {
		if err := durable.WriteFile(filepath.Join(tmp, file), func(w io.Writer) error { return json.NewEncoder(w).Encode(v) }); err != nil {
			return Dataset{}, unsaved(events.T("the demo"), err)
		}
	}
	id, err := workspace.MakeUnique(e.ws.Datasets(), "demo", func(dir string) error { return durable.RenameNew(tmp, dir) })
	if err != nil {
		return Dataset{}, unsaved(events.T("the demo"), err)
	}
	if err := s.datasetChanged(ctx, e, id); err != nil {
		return Dataset{}, err
	}
	return s.Get(ctx, id)
}
