// Package runs keeps training runs in folders: what they are (run.json), how they stand (status.json), their log, samples
// and checkpoints, and the one lock that keeps two processes from training the same run.
package runs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"unnoise/app/disk"
	"unnoise/pipeline/data"
	"unnoise/pipeline/model"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// Version is the version of run.json. A newer one is refused. Version 2 says by which rule pictures are held out.
const Version = 2

// Names within a run's folder.
const (
	InfoName   = "run.json"
	StatusName = "status.json"
	LockName   = "run.lock"
	CacheName  = "cache"
)

// Info is run.json: everything that was decided about a run, and what its owner wrote about it.
type Info struct {
	Version int       `json:"version"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Program string    `json:"program"` // version of Unnoise that made it
	Notes   string    `json:"notes,omitempty"`
	Tags    []string  `json:"tags,omitempty"`
	Starred bool      `json:"starred,omitempty"`
	FromRun string    `json:"from_run,omitempty"` // whose settings were cloned

	Model model.Spec   `json:"model"`
	Train train.Config `json:"train"`
	Data  Source       `json:"data"`
}

// Source says which pictures a run trains on.
type Source struct {
	Path    durable.Path `json:"path"`              // folder, zip or IDX file
	Dataset string       `json:"dataset,omitempty"` // of the workspace, if it is one of its
	Exclude []string     `json:"exclude,omitempty"` // names of pictures left out
	// Cache is where the decoded pictures are, relative to the run's folder; empty means CacheName.
	Cache string `json:"cache,omitempty"`
	// Fingerprint names the content of the cache that training began with.
	Fingerprint string `json:"fingerprint,omitempty"`
	Images      int    `json:"images,omitempty"`
}

// maxWords is how many bytes a run's name, notes and tags may have together: a window has to lay them out.
const maxWords = 200_000

func (i Info) checkWords() error {
	if n := len(i.Name) + len(i.Notes) + len(strings.Join(i.Tags, "")); n > maxWords {
		return sentence.Errorf("name, notes and tags of the run have %d bytes, and %d are the most: shorten them", n, maxWords)
	}
	return nil
}

const maxInfo = 16 << 20 // a run.json lists classes and excluded names, but no more than that

func readInfo(dir string) (Info, error) {
	path := filepath.Join(dir, InfoName)
	var i Info
	if err := disk.ReadJSON(path, maxInfo, &i); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return i, sentence.T("{{.Path}} is not a run: it has no {{.Name}}; give the folder that “unnoise train --run” made", "Path", dir, "Name", InfoName).Because(err)
		}
		return i, err
	}
	return i, i.check(path)
}

// check reports the first thing in a description read from path that cannot be used.
func (i Info) check(path string) error {
	switch {
	case i.Version > Version:
		return sentence.T("{{.Path}} has version {{.Version}}, and this program reads up to {{.Known}}: use a newer Unnoise", "Path", path, "Version", i.Version, "Known", Version).Because(disk.ErrNewer)
	case i.Version < 1:
		return sentence.Errorf("%s has no version: it is damaged or not a run of Unnoise", path)
	}
	if err := i.checkWords(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := i.Model.Validate(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := i.Train.Validate(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// NewInfo describes a run of a preset on pictures scanned from a source. Zero values in c mean the preset's own. Errors
// about choices wrap model.ErrOption.
func NewInfo(preset string, o model.Options, c train.Config, src Source) (Info, error) {
	spec, err := model.New(preset, o)
	if err != nil {
		return Info{}, err
	}
	if err := o.Preprocess.Validate(); err != nil {
		return Info{}, model.Unusable("fit", "%w", err)
	}
	if err := c.Validate(); err != nil {
		return Info{}, err
	}
	return Info{Version: Version, Created: time.Now().UTC().Truncate(time.Second), Model: spec, Train: c, Data: src}, nil
}

// Enough checks that a report has pictures for the batch, before anything is decoded. Errors wrap model.ErrOption.
func Enough(rep *data.Report, excluded, batch int) error {
	if n := len(rep.Items) - excluded; n < batch {
		return model.Unusable("batch", "%w", sentence.T("{{.Path}} has {{.N}} usable pictures, fewer than the batch of {{.Batch}}: add pictures or choose a smaller batch",
			"Path", rep.Path, "N", n, "Batch", batch))
	}
	return nil
}

// AllRead checks that none of the pictures was set aside for a reason that may pass: a run keeps the pictures that it begins with, and those
// would be missing for ever.
func AllRead(rep *data.Report) error {
	n, first := 0, data.BadFile{}
	for _, b := range rep.Bad {
		if b.Unread {
			if n == 0 {
				first = b
			}
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return sentence.T("{{.N}} pictures in {{.Path}} could not be read, the first ({{.Name}}) because {{.Reason}}; the dataset has to be read again without errors, or these files moved away",
		"N", n, "Path", rep.Path, "Name", first.Name, "Reason", first.Why())
}

// Apart checks that a run's folder does not lie within the folder of its pictures, where its samples would become pictures to train on.
func Apart(dir, pictures string) error {
	in, err := real(dir)
	if err != nil {
		return err
	}
	of, err := real(pictures)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(of, in); err == nil && filepath.IsLocal(rel) {
		return sentence.T("the run's folder {{.Run}} lies within its pictures in {{.Path}}, and its samples would become pictures to train on: choose a place beside them",
			"Run", dir, "Path", pictures)
	}
	return nil
}

// real is a path without links, as far as it exists.
func real(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for p := abs; ; p = filepath.Dir(p) {
		if r, err := filepath.EvalSymlinks(p); err == nil {
			return filepath.Join(r, strings.TrimPrefix(abs, p)), nil
		}
		if filepath.Dir(p) == p {
			return abs, nil
		}
	}
}
