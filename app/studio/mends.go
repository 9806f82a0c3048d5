package studio

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"unnoise/app/events"
	"unnoise/app/runs"
	"unnoise/pipeline/checkpoint"
	"unnoise/pipeline/model"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
)

// trashGoes is asked before the trash is emptied.
func trashGoes() Text { return events.T("What is in the trash is removed for good.") }

// failed tells why a job ended and offers what may mend it. run is empty if there was none yet.
func (s *supervisor) failed(run string, err error) error {
	n := Notice{Severity: events.Failure, Run: run, Text: events.T("The training stopped: {{.Problem}}", "Problem", err)}
	if run != "" {
		n.Mends = mender{s.c, run}.mends(err)
		n.Folder = s.folder(run)
	}
	s.c.bus.Publish(n)
	return err
}

// warned tells of something that did not end the job.
func (s *supervisor) warned(run string, ev train.Warned) {
	n := Notice{Severity: events.Warning, Run: run, Text: ev.Message}
	if durable.IsFull(ev.Cause) {
		n.Mends, n.Folder = []Mend{{Label: events.T("Empty the trash"), Ask: trashGoes(), Apply: mender{s.c, run}.emptyTrash}}, s.folder(run)
	}
	s.c.bus.Publish(n)
}

func (s *supervisor) folder(run string) string {
	r, err := s.c.openRun(run)
	if err != nil {
		return ""
	}
	return r.Dir
}

// mender makes the ways out for a run that failed.
type mender struct {
	c   *core
	run string
}

func (m mender) mends(err error) []Mend {
	again := Mend{Label: events.T("Continue"), Apply: m.goOn}
	switch {
	case errors.Is(err, train.ErrDiverged):
		lr, scale, rerr := m.rate()
		if rerr != nil {
			return nil
		}
		lower := fmt.Sprintf("%.3g", lr*scale/2)
		return []Mend{
			{Label: events.T("Continue with a learning rate of {{.LR}}", "LR", lower), Apply: m.lowerRate},
			m.like(events.T("Start anew with a learning rate of {{.LR}}", "LR", lower), func(r *TrainRequest) { r.LR = lr * scale / 2 }),
		}
	case durable.IsFull(err):
		out := []Mend{{Label: events.T("Empty the trash and continue"), Ask: trashGoes(), Apply: func(ctx context.Context) error {
			return errors.Join(m.emptyTrash(ctx), m.goOn(ctx))
		}}}
		if m.older() > 0 {
			ask := events.T("Every checkpoint of this run but the newest and the best is removed for good.")
			out = append(out, Mend{Label: events.T("Keep only the newest checkpoint and continue"), Ask: ask, Apply: func(ctx context.Context) error {
				if err := m.prune(ctx); err != nil {
					return err
				}
				return m.goOn(ctx)
			}})
		}
		return append(out, again)
	case outOfMemory(err):
		req, rerr := runService{core: m.c}.Settings(context.Background(), m.run)
		if rerr != nil {
			return nil
		}
		var out []Mend
		if req.Batch > 1 {
			out = append(out, m.like(events.T("Start anew with a batch of {{.Batch}}", "Batch", req.Batch/2), func(r *TrainRequest) { r.Batch /= 2 }))
		}
		if p, ok := smaller(req.Preset); ok {
			out = append(out, m.like(events.T("Start anew with the smaller network {{.Preset}}", "Preset", p), func(r *TrainRequest) { r.Preset = p }))
		}
		return out
	}
	return []Mend{again}
}

// smaller is the next smaller preset, if there is one.
func smaller(preset string) (string, bool) {
	names := model.PresetNames() // smallest first
	for i, n := range names {
		if n == preset && i > 0 {
			return names[i-1], true
		}
	}
	return "", false
}

func (m mender) goOn(ctx context.Context) error {
	return trainingService{core: m.c}.ContinueRun(ctx, m.run, 0)
}

// like starts another run with the settings of this one but for what change does to them.
func (m mender) like(label Text, change func(*TrainRequest)) Mend {
	return Mend{Label: label, Apply: func(ctx context.Context) error {
		req, err := runService{core: m.c}.Settings(ctx, m.run)
		if err != nil {
			return err
		}
		change(&req)
		req.FromRun = m.run
		return trainingService{core: m.c}.Start(ctx, req)
	}}
}

func (m mender) open() (*runs.Run, error) { return m.c.openRun(m.run) }

// rate is the run's learning rate and by how much its divergence has lowered it already.
func (m mender) rate() (lr, scale float64, err error) {
	run, err := m.open()
	if err != nil {
		return 0, 0, err
	}
	recs, err := run.Log()
	if err != nil {
		return 0, 0, err
	}
	scale = 1
	for _, r := range recs {
		if r.LRScale > 0 {
			scale = r.LRScale
		}
	}
	return run.Info().Train.LR, scale, nil
}

// lowerRate goes on from the newest checkpoint with half the learning rate; what was lowered by divergence stays so.
func (m mender) lowerRate(ctx context.Context) error {
	run, err := m.open()
	if err != nil {
		return err
	}
	if err := run.Update(func(i *runs.Info) { i.Train.LR /= 2 }); err != nil {
		return err
	}
	return m.goOn(ctx)
}

func (m mender) emptyTrash(ctx context.Context) error {
	_, err := trashService{m.c}.Purge(ctx, 0, nil)
	return err
}

// older is how many checkpoints there are besides the newest and the best.
func (m mender) older() int {
	run, err := m.open()
	if err != nil {
		return 0
	}
	valid, _, err := checkpoint.List(run.Checkpoints())
	if err != nil {
		return 0
	}
	n := len(valid) - 1
	if best, ok := checkpoint.Best(valid); ok && best.Step != valid[n].Step {
		n--
	}
	return n
}

// prune removes every checkpoint but the newest and the best. It is refused while the run trains.
func (m mender) prune(ctx context.Context) error {
	run, err := m.open()
	if err != nil {
		return err
	}
	if m.c.sup.holds(m.run) {
		return events.T("This run is being trained already.")
	}
	err = run.Prune(ctx, 1)
	m.c.bus.Publish(events.RunsChanged{Run: m.run})
	return err
}

// outOfMemory recognises the runtime's ways of saying so.
func outOfMemory(err error) bool {
	msg := strings.ToLower(err.Error())
	return strings.Contains(msg, "out of memory") || strings.Contains(msg, "bad_alloc") || strings.Contains(msg, "failed to allocate")
}
