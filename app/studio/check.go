package studio

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"path/filepath"

	"unnoise/app/check"
	"unnoise/app/events"
	"unnoise/app/library"
	"unnoise/app/workspace"
	"unnoise/pipeline/imports"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

type (
	// CheckReport is what a look at all files finds; see package check.
	CheckReport = check.Report
	// CheckFinding is one thing that is not whole.
	CheckFinding = check.Finding
	// CheckState says how one that is not whole is, and what became of it.
	CheckState = check.State
)

// The states of what is not whole.
const (
	CheckLost     = check.Lost
	CheckMendable = check.Mendable
	CheckMended   = check.Mended
	CheckUnread   = check.Unread
)

// Check compares all that the workspace in dir holds with its hashes, without opening it: nothing is written unless mend is
// set. The window, if it has the workspace open, is not disturbed.
func Check(ctx context.Context, dir string, mend bool, progress ProgressFunc) (*CheckReport, error) {
	o := checkOptions(mend, progress)
	path := workspace.Library(dir)
	o.Index = func(ctx context.Context) error { return library.Verify(ctx, path) }
	o.Reindex = func(ctx context.Context) error {
		w, err := workspace.Open(dir, "check")
		if err != nil {
			return err
		}
		if err := errors.Join(library.Remove(path), w.Close()); err != nil {
			return err
		}
		return attachOnce(ctx, dir)
	}
	rep, err := check.Workspace(ctx, dir, o)
	if err == nil && mend { // whatever opens the workspace removes what processes that died left in it
		err = attachOnce(ctx, dir)
	}
	return rep, err
}

func attachOnce(ctx context.Context, dir string) error {
	s, err := Attach(ctx, dir)
	if err != nil {
		return err
	}
	return s.Close(context.WithoutCancel(ctx))
}

// CheckRun compares all that the run in dir holds with its hashes, wherever it lies.
func CheckRun(ctx context.Context, dir string, mend bool, progress ProgressFunc) (*CheckReport, error) {
	return check.Run(ctx, dir, checkOptions(mend, progress))
}

func checkOptions(mend bool, progress ProgressFunc) check.Options {
	return check.Options{
		Mend:     mend,
		Progress: newMeter(progress, events.T("Reading and comparing")).at,
		Dataset: func(dir string) error {
			_, _, err := readScan(dir)
			return err
		},
		Gallery: func(dir string) error {
			_, err := readGallery(dir)
			return err
		},
		Model: checkModel,
	}
}

// checkModel reads an imported model in full and compares its weights with their hash, if it has one.
func checkModel(ctx context.Context, dir string) error {
	m, err := readModel(dir)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, weightsName)
	if m.SHA256 != "" {
		f, err := durable.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) != m.SHA256 {
			return sentence.Errorf("the weights %s are not those that were imported (their SHA-256 is wrong)", path)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err = imports.ReadWeights(path, m.Spec)
	return err
}

func (s workspaceService) Check(ctx context.Context, mend bool, progress ProgressFunc) (*CheckReport, error) {
	ctx, e, done, err := s.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	o := checkOptions(mend, progress)
	o.Index = func(ctx context.Context) error { return library.Verify(ctx, e.lib.Path()) }
	o.Reindex = func(ctx context.Context) error { return s.rebuild(ctx, nil) }
	rep, err := check.Workspace(ctx, e.ws.Dir(), o)
	if err != nil || !mend {
		return rep, err
	}
	return rep, s.sync(ctx, nil)
}
