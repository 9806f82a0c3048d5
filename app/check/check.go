// Package check reads all that a workspace or a run holds and compares it with its hashes: what is whole, what is lost, what
// can be made good, and what to do. It reads only, unless it is asked to mend; and mending never removes anything but what
// this program made and can make again: what a file was before is kept beside it.
package check

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"unnoise/app/datasets"
	"unnoise/app/disk"
	"unnoise/app/runs"
	"unnoise/pipeline/checkpoint"
	"unnoise/pipeline/data"
	"unnoise/pipeline/model"
	"unnoise/pipeline/picture"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// State is what became of a thing that is not whole.
type State string

// The states of a finding.
const (
	Lost     State = "lost"     // it is damaged, and nothing here holds what it was
	Mendable State = "mendable" // mending makes it good again
	Mended   State = "mended"   // that was done
	Unread   State = "unread"   // it could not be read now, so it may well be whole
)

// Finding is one thing that is not whole, or cannot be said to be.
type Finding struct {
	Path  string        `json:"path"`
	State State         `json:"state"`
	What  sentence.Text `json:"-"` // is wrong
	Do    sentence.Text `json:"-"` // what the person can do about it
}

// Report says what was looked at and found.
type Report struct {
	Path        string
	Runs        int
	Checkpoints int
	Records     int // of the runs' logs
	Pictures    int // that Unnoise drew, each compared with the hash it carries
	Unhashed    int // of them, those that carry none: older versions wrote none; they can be decoded
	Foreign     int // pictures that do not come from Unnoise, which are left alone
	Datasets    int
	Caches      int // folders of decoded pictures
	Models      int
	Deleted     int   // things in the trash
	Bytes       int64 // read and compared
	// Debris is how many temporary files processes that died have left, or others write now. They cost room and nothing
	// else.
	Debris   int
	Findings []Finding
}

// Whole reports whether nothing is lost and nothing is left to be mended.
func (r *Report) Whole() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.State != Mended })
}

// Count is how many findings are in a state.
func (r *Report) Count(s State) (n int) {
	for _, f := range r.Findings {
		if f.State == s {
			n++
		}
	}
	return n
}

// Options says what to do besides looking.
type Options struct {
	Mend     bool                                      // make good what can be
	Progress func(done, total int64, item string)      // in bytes; may be nil
	Dataset  func(dir string) error                    // reads the files of a dataset's folder
	Gallery  func(dir string) error                    // reads gallery.json, where there is one
	Model    func(ctx context.Context, d string) error // reads an imported model and compares its weights with their hash
	Index    func(ctx context.Context) error           // reads the whole index; errors wrap fs.ErrNotExist when there is none
	Reindex  func(ctx context.Context) error           // makes the index anew
}

type checker struct {
	o     Options
	rep   *Report
	total int64
	done  int64
}

// Run looks at the run in dir.
func Run(ctx context.Context, dir string, o Options) (*Report, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, runs.InfoName)); err != nil {
		if _, cerr := os.Stat(filepath.Join(dir, train.CheckpointDir)); cerr != nil {
			return nil, sentence.T("{{.Path}} is not a run: it has no {{.Name}}; give the folder that “unnoise train --run” made", "Path", dir, "Name", runs.InfoName).Because(err)
		}
	}
	c := &checker{o: o, rep: &Report{Path: dir}}
	if c.total, err = size(ctx, dir); err != nil {
		return nil, err
	}
	if err := c.run(ctx, dir); err != nil {
		return nil, err
	}
	c.finished()
	return c.rep, nil
}

// finished says that all was looked at, what is not compared with anything included.
func (c *checker) finished() {
	if c.o.Progress != nil {
		c.o.Progress(c.total, c.total, "")
	}
}

// size adds up the bytes below the folders, for the progress.
func size(ctx context.Context, dirs ...string) (total int64, err error) {
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // the check itself tells of it
			}
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
				total += info.Size()
			}
			return ctx.Err()
		})
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

// read says that n more bytes were compared.
func (c *checker) read(n int64, item string) {
	c.rep.Bytes += n
	c.done = min(c.done+n, c.total)
	if c.o.Progress != nil {
		c.o.Progress(c.done, c.total, item)
	}
}

func (c *checker) found(path string, s State, what error, do sentence.Text) {
	c.rep.Findings = append(c.rep.Findings, Finding{Path: path, State: s, What: model.Told(what), Do: do})
}

// mended runs mend where that was asked for, and notes what became of the thing.
func (c *checker) mended(path string, what error, do sentence.Text, mend func() error) {
	s := Mendable
	if c.o.Mend {
		if err := mend(); err != nil {
			what, do = err, sentence.T("Mend what stands in the way, and check again.")
		} else {
			s = Mended
		}
	}
	c.found(path, s, what, do)
}

// unread reports whether an error is of the disk, or of a file of a newer version, and so says nothing about the thing
// itself.
func unread(err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, system := errors.AsType[syscall.Errno](err)
	return system || errors.Is(err, disk.ErrNewer) || errors.Is(err, data.ErrNewer) || errors.Is(err, checkpoint.ErrNewer)
}

// again is what to do about what could not be read now.
func again(err error) sentence.Text {
	if errors.Is(err, disk.ErrNewer) || errors.Is(err, data.ErrNewer) || errors.Is(err, checkpoint.ErrNewer) {
		return sentence.T("Use the newer Unnoise for it.")
	}
	return sentence.T("Look after the disk and the permissions, and check again.")
}

// aside keeps a copy of a file beside it under a name that is free.
func aside(path string) (kept string, err error) {
	for n := 1; n < 1000; n++ {
		kept = path + ".damaged"
		if n > 1 {
			kept += "-" + strconv.Itoa(n)
		}
		err = durable.WriteNew(kept, func(w io.Writer) error {
			f, err := durable.Open(path)
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			_, err = io.Copy(w, f)
			return err
		})
		if !errors.Is(err, fs.ErrExist) {
			return kept, err
		}
	}
	return "", err
}

// keeping replaces a file by what write makes, and keeps what it was.
func keeping(path string, write func(kept string) error) error {
	kept, err := aside(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return write(kept)
}

// run looks at one run.
func (c *checker) run(ctx context.Context, dir string) error {
	c.rep.Runs++
	var held error // why nothing may be changed here
	release, err := runs.Hold(dir)
	if err != nil {
		held = err
	} else {
		defer release()
	}
	mend := func(path string, what error, do sentence.Text, mend func() error) {
		c.mended(path, what, do, func() error {
			if held != nil {
				return held
			}
			return mend()
		})
	}
	steps, err := c.checkpoints(ctx, dir)
	if err != nil {
		return err
	}
	c.runInfo(dir, mend)
	c.runStatus(dir, mend)
	c.runPictures(dir, mend)
	c.runLog(dir, len(steps) > 0, mend)
	if err := c.pictures(ctx, filepath.Join(dir, train.SampleDir), sentence.T("It is a picture of how training went, and nothing rests on it.")); err != nil {
		return err
	}
	if err := c.cache(ctx, filepath.Join(dir, runs.CacheName)); err != nil {
		return err
	}
	for _, d := range []string{dir, filepath.Join(dir, train.SampleDir), filepath.Join(dir, train.CheckpointDir), filepath.Join(dir, runs.CacheName)} {
		c.debris(d, held == nil)
	}
	return nil
}

type mender func(path string, what error, do sentence.Text, mend func() error)

func (c *checker) runInfo(dir string, mend mender) {
	path := filepath.Join(dir, runs.InfoName)
	_, err := runs.Open(dir)
	switch {
	case err == nil:
		return
	case unread(err):
		c.found(path, Unread, err, again(err))
		return
	}
	info, step, cerr := runs.Copy(dir)
	if cerr != nil {
		c.found(path, Lost, err, sentence.T("No checkpoint holds a copy of it. Bring it back from a backup; the weights of the checkpoints themselves are usable."))
		return
	}
	mend(path, err, sentence.T("The checkpoint of step {{.Step}} holds a copy of it. Notes and tags written after that step are lost.", "Step", step), func() error {
		return keeping(path, func(string) error { return runs.WriteInfo(dir, info) })
	})
}

func (c *checker) runStatus(dir string, mend mender) {
	path := filepath.Join(dir, runs.StatusName)
	switch _, err := runs.ReadStatus(dir); {
	case err == nil || errors.Is(err, fs.ErrNotExist):
	case unread(err):
		c.found(path, Unread, err, again(err))
	default:
		mend(path, err, sentence.T("Where the run stands, its checkpoints say."), func() error {
			return keeping(path, func(string) error { return runs.WriteStatus(dir) })
		})
	}
}

func (c *checker) runPictures(dir string, mend mender) {
	path := filepath.Join(dir, runs.PicturesName)
	switch err := runs.CheckPictures(dir); {
	case err == nil:
	case unread(err):
		c.found(path, Unread, err, again(err))
	default:
		mend(path, err, sentence.T("It names the pictures that the run was trained on, and those decoded for it tell the same."), func() error {
			return keeping(path, func(string) error { return runs.WritePictures(dir) })
		})
	}
}

func (c *checker) runLog(dir string, trained bool, mend mender) {
	path := filepath.Join(dir, train.LogName)
	records, bad, err := train.CountLog(path)
	c.rep.Records += records
	if st, err := os.Lstat(path); err == nil {
		c.read(st.Size(), path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if trained {
			c.found(path, Lost, sentence.Errorf("the log %s is not there", path), sentence.T("The curves of what was trained so far are gone. Training goes on without them."))
		}
	case err != nil && unread(err):
		c.found(path, Unread, err, again(err))
	case err != nil:
		c.found(path, Lost, err, sentence.T("The curves of what was trained so far are gone. Training goes on without them."))
	case bad > 0:
		what := sentence.Errorf("the log %s has %d lines that are none of its own, and %d that are", path, bad, records)
		mend(path, what, sentence.T("The lines that are whole are kept, and the file as it is now beside them."), func() error {
			return keeping(path, func(kept string) error { return train.MendLog(path, kept) })
		})
	}
}

// checkpoints reads every checkpoint of a run, and returns the steps of those that are whole.
func (c *checker) checkpoints(ctx context.Context, run string) ([]int64, error) {
	dir := filepath.Join(run, train.CheckpointDir)
	infos, ignored, err := checkpoint.List(dir)
	if err != nil {
		c.found(dir, Unread, err, again(err))
		return nil, nil
	}
	var whole []int64
	type broken struct {
		path string
		err  error
	}
	var bad []broken
	for _, i := range infos {
		err := checkpoint.Verify(ctx, dir, i.Step)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		c.rep.Checkpoints++
		c.read(i.Size, i.Path)
		if err != nil {
			bad = append(bad, broken{i.Path, err})
			continue
		}
		whole = append(whole, i.Step)
	}
	for _, i := range ignored {
		step, err := strconv.ParseInt(filepath.Base(i.Path), 10, 64)
		if err != nil {
			continue // another's, or debris
		}
		if err := checkpoint.Verify(ctx, dir, step); err != nil && !errors.Is(err, checkpoint.ErrNone) {
			c.rep.Checkpoints++
			bad = append(bad, broken{i.Path, err})
		}
	}
	for _, b := range bad {
		switch {
		case unread(b.err):
			c.found(b.path, Unread, b.err, again(b.err))
		case len(whole) > 0:
			c.found(b.path, Lost, b.err, sentence.T("The run has whole checkpoints: the newest of them, of step {{.Step}}, is where it goes on.", "Step", slices.Max(whole)))
		default:
			c.found(b.path, Lost, b.err, sentence.T("The run has no whole checkpoint. Bring one back from a backup, or train it again."))
		}
	}
	return whole, nil
}

// pictures reads the PNGs of a folder.
func (c *checker) pictures(ctx context.Context, dir string, do sentence.Text) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		c.found(dir, Unread, err, again(err))
		return nil
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") || !strings.EqualFold(filepath.Ext(e.Name()), ".png") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		m, err := picture.Verify(path)
		if st, serr := e.Info(); serr == nil {
			c.read(st.Size(), path)
		}
		switch {
		case errors.Is(err, picture.ErrNoMeta):
			c.rep.Foreign++
			continue
		case errors.Is(err, fs.ErrNotExist):
			continue // just removed
		case errors.Is(err, picture.ErrChanged):
			c.found(path, Lost, err, sentence.T("If you changed it yourself, all is well. {{.Advice}}", "Advice", do))
		case err != nil && unread(err):
			c.found(path, Unread, err, again(err))
		case err != nil:
			c.found(path, Lost, err, do)
		case m.Pixels == "":
			c.rep.Unhashed++
		}
		c.rep.Pictures++
	}
	return nil
}

// cache reads a folder of decoded pictures. Damaged ones are dropped, to be decoded again, where what they came from is
// still there.
func (c *checker) cache(ctx context.Context, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, data.CacheName)); err != nil {
		return nil //nolint:nilerr // nothing was decoded here, or not to its end
	}
	c.rep.Caches++
	source, n, err := data.VerifyCache(ctx, dir)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.read(n, dir)
	switch {
	case err == nil:
	case unread(err) || !data.CacheDamaged(err):
		c.found(dir, Unread, err, again(err))
	default:
		if _, serr := os.Stat(source); source != "" && serr != nil {
			c.found(dir, Lost, err, sentence.T("They are decoded again once {{.Path}} is there again.", "Path", source))
			return nil
		}
		c.mended(dir, err, sentence.T("They are dropped, and decoded again when they are needed."), func() error {
			dropped, err := datasets.Drop(dir)
			if err == nil && !dropped {
				err = sentence.Errorf("the decoded pictures in %s are in use: end what uses them", dir)
			}
			return err
		})
	}
	return nil
}

// debris counts the temporary files in a folder, and removes them where that was asked for and nobody can be writing them.
func (c *checker) debris(dir string, alone bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // told of elsewhere
	}
	n := 0
	for _, e := range entries {
		if durable.IsTemp(e.Name()) {
			n++
		}
	}
	if n > 0 && c.o.Mend && alone && durable.Sweep(dir) == nil {
		return
	}
	c.rep.Debris += n
}
