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

// ReadLog reads a run's log. A last line that is cut short, as a crash leaves it, is left out; a missing log is empty.
func ReadLog(path string) ([]Record, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	recs, _, err := decodeLog(f)
	if err != nil {
		return nil, sentence.Errorf("the log %s: %w", path, err)
	}
	return recs, nil
}

// decodeLog returns the records and the number of bytes their lines take.
func decodeLog(r io.Reader) (recs []Record, size int64, err error) {
	br := bufio.NewReaderSize(r, maxLogLine)
	for n := 1; ; n++ {
		line, err := br.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF): // no line end: still being written, or cut short
			return recs, size, nil
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, 0, sentence.Errorf("line %d is longer than %d bytes", n, maxLogLine)
		case err != nil:
			return nil, 0, err
		}
		var rec Record
		if err := json.Unmarshal(line, &rec); err != nil {
			return nil, 0, sentence.Errorf("line %d is damaged: %w", n, err)
		}
		recs = append(recs, rec)
		size += int64(len(line))
	}
}

// logFile appends records to a log.
type logFile struct{ f *os.File }

// openLog opens the log for a run that goes on at step: lines of later steps, which a killed process wrote after its
// last checkpoint, and a line cut short are removed first, since those steps are done again.
func openLog(path string, step int64) (*logFile, error) {
	if err := rewindLog(path, step); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	return &logFile{f}, nil
}

// rewindLog removes the lines of steps after step.
func rewindLog(path string, step int64) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	recs, size, err := decodeLog(bytes.NewReader(b))
	if err != nil {
		return sentence.Errorf("the log %s: %w", path, err)
	}
	var keep bytes.Buffer
	lines := bytes.SplitAfter(b[:size], []byte("\n"))
	for i, rec := range recs {
		if rec.Step <= step {
			keep.Write(lines[i])
		}
	}
	if keep.Len() == len(b) {
		return nil
	}
	return durable.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(keep.Bytes())
		return err
	})
}

func (l *logFile) add(r Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = l.f.Write(append(b, '\n')) // one write: a reader sees whole lines, or a cut one it leaves out
	return err
}

func (l *logFile) sync() error  { return l.f.Sync() }
func (l *logFile) close() error { return l.f.Close() }
