package train

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"unnoise/pipeline/eval"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// LogName is the name of the log in a run's folder: JSON, one Record a line.
const LogName = "log.jsonl"

// MaxLog bounds the bytes of a log; the longest training writes far fewer.
const MaxLog = 4 << 30

// Record is one line of the log. The losses are means over the steps since the line before.
type Record struct {
	Step    int64     `json:"step"` // steps done
	Time    time.Time `json:"time"`
	Seconds float64   `json:"seconds"` // spent training since the run began, over all its processes
	// Event is empty, or "rollback": the run went back to Step, for the Reason given, with the learning rate LR, which
	// is LRScale times the configuration's; the losses are 0 then.
	Event     string  `json:"event,omitempty"`
	Reason    string  `json:"reason,omitempty"`
	LRScale   float64 `json:"lr_scale,omitempty"`
	Rollbacks int     `json:"rollbacks,omitempty"` // so far
	Loss      float64 `json:"loss"`                // mean squared error of the network's output per value
	Weighted  float64 `json:"weighted"`            // the loss that is minimised, with the weight of each noise level
	GradNorm  float64 `json:"grad_norm"`           // before clipping
	LR        float64 `json:"lr"`
	// ImagesPerSecond counts optimiser steps only.
	ImagesPerSecond float64 `json:"images_per_second"`
	// Levels is the loss in equal parts of u ∈ [0,1), from least to most noise, and Counts how many pictures fell
	// within each; a part without any has loss 0.
	Levels []float64 `json:"levels,omitempty"`
	Counts []int     `json:"counts,omitempty"`
	// Train and Held are the loss of the averaged weights on pictures that are trained on and on held-out ones, on
	// the same noise at every measurement; only at steps with samples.
	Train *eval.Result `json:"train,omitempty"`
	Held  *eval.Result `json:"held,omitempty"`
}

const eventRollback = "rollback"

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// maxLogLine bounds a line of a log that may not be ours.
const maxLogLine = 1 << 20

// ReadLog reads a run's log. Damaged lines are passed over, and a last one that is cut short, as a crash leaves it, is left
// out; a missing log is empty.
func ReadLog(path string) ([]Record, error) {
	recs, _, err := readLog(durable.Disk{}, path)
	return recs, err
}

// readLog also counts the damaged lines.
func readLog(disk durable.Disk, path string) (recs []Record, bad int, err error) {
	err = eachLine(disk, path, func(_ []byte, rec *Record) error {
		if rec == nil {
			bad++
		} else {
			recs = append(recs, *rec)
		}
		return nil
	})
	return recs, bad, err
}

// eachLine gives use every whole line of a log, and what it says; nil if it is damaged. Of one that is too long, only the
// beginning is given.
func eachLine(disk durable.Disk, path string, use func(line []byte, rec *Record) error) error {
	f, err := disk.OpenUpTo(path, MaxLog)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer func() { _ = f.Close() }()
		err = decodeLog(f, use)
	}
	if err != nil {
		return sentence.Errorf("the log %s cannot be read: %w", disk.Path(path), err)
	}
	return nil
}

func decodeLog(r io.Reader, use func(line []byte, rec *Record) error) error {
	br := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, err := br.ReadSlice('\n')
		var rec *Record
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			line = append(bytes.Clone(line[:64]), '\n')
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = br.ReadSlice('\n')
			}
		case err == nil:
			rec = new(Record)
			if json.Unmarshal(line, rec) != nil {
				rec = nil
			}
		}
		if errors.Is(err, io.EOF) { // no line end: still being written, or cut short
			return nil
		}
		if err != nil {
			return err
		}
		if err := use(line, rec); err != nil {
			return err
		}
	}
}

// logFile appends records to a log.
type logFile struct {
	disk    durable.Disk
	path    string
	f       *os.File // nil while it cannot be opened
	pending []Record // those that could not be written yet
}

// openLog opens the log for a run that goes on at step: lines of later steps, which a killed process wrote after its
// last checkpoint, and a line cut short are removed first, since those steps are done again.
//
// The log is there also with an error: what could not be done now is tried again when a line is added.
func openLog(disk durable.Disk, path string, step int64) (*logFile, error) {
	l := &logFile{disk: disk, path: path}
	err := rewindLog(disk, path, step)
	if oerr := l.open(); oerr != nil {
		err = oerr
	}
	return l, err
}

func (l *logFile) open() (err error) {
	if l.f == nil {
		l.f, err = l.disk.OpenAppend(l.path)
	}
	return err
}

// rewindLog removes the lines of steps after step. A damaged line stays where it is, unless one that goes is before it.
func rewindLog(disk durable.Disk, path string, step int64) error {
	var keep bytes.Buffer
	ahead := false
	err := eachLine(disk, path, func(line []byte, rec *Record) error {
		if rec != nil {
			ahead = rec.Step > step
		}
		if !ahead {
			keep.Write(line)
		}
		return nil
	})
	if err != nil {
		return err
	}
	f, err := disk.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if int64(keep.Len()) == st.Size() {
		return nil
	}
	return disk.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(keep.Bytes())
		return err
	})
}

// maxPending bounds what a log that cannot be written holds in memory.
const maxPending = 10_000

// add appends a record. One that cannot be written, perhaps because the disk is full, is kept and written with the next.
func (l *logFile) add(r Record) error {
	if len(l.pending) < maxPending {
		l.pending = append(l.pending, r)
	}
	return l.flush()
}

func (l *logFile) flush() error {
	var b []byte
	for _, r := range l.pending {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		b = append(append(b, line...), '\n')
	}
	if len(b) == 0 {
		return nil
	}
	if err := l.open(); err != nil {
		return err
	}
	st, err := l.f.Stat()
	if err != nil {
		return err
	}
	if _, err := l.f.Write(b); err != nil { // one write: a reader sees whole lines, or a cut one it leaves out
		return errors.Join(err, l.f.Truncate(st.Size()))
	}
	l.pending = nil
	return nil
}

// sync makes what was added outlive a power cut.
func (l *logFile) sync() error {
	if err := errors.Join(l.flush(), l.open()); err != nil {
		return err
	}
	return l.f.Sync()
}

func (l *logFile) close() error {
	if l.f == nil {
		return nil
	}
	return l.f.Close()
}
