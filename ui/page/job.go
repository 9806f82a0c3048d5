package page

import (
	"time"

	"unnoise/app/studio"
)

// jobEvery is how often the figures of a job change on the screen. Each change paints the whole window, and without a
// graphics card that takes the processor from the training: at ten times a second it slowed a small one by a sixth.
const jobEvery = 2 * time.Second

// Job is the training's snapshot for the screen. It is the newest one when the job has turned to something else, and
// otherwise at most two seconds old, so that all that shows its figures changes at the same time, and is painted once. It is
// called on the UI thread.
func (s *Services) Job() studio.Snapshot {
	now, was := s.Studio.Training.Snapshot(), s.job
	same := now.State == was.State && now.Run == was.Run && now.Name == was.Name && now.Steps == was.Steps &&
		now.GridStep == was.GridStep && now.Queued == was.Queued && now.Held == was.Held && now.Phase.Template == was.Phase.Template
	if !same || time.Since(s.jobAt) >= jobEvery {
		s.job, s.jobAt = now, time.Now()
	}
	return s.job
}
