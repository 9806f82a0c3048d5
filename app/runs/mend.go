package runs

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"unnoise/app/disk"
	"unnoise/pipeline/checkpoint"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// Hold takes the lock of the run in dir, so that no process trains it until release is called; *LockedError when one
// does. A run that was never trained or cannot be written is held without a lock.
func Hold(dir string) (release func(), err error) {
	path := filepath.Join(dir, LockName)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	lock := durable.Lock(path)
	ok, err := lock.TryLock()
	if err != nil {
		if errors.Is(err, fs.ErrPermission) { // a read-only copy: nobody can train it
			return func() {}, nil
		}
		return nil, sentence.Errorf("the run's lock cannot be read: %w", err)
	}
	if !ok {
		return nil, &LockedError{Dir: dir}
	}
	return func() { _ = lock.Unlock() }, nil
}

// Copy is the newest usable copy of run.json that the checkpoints of the run in dir hold, and the step it is of. The error
// wraps checkpoint.ErrNone when there is none, as in runs of older versions.
func Copy(dir string) (Info, int64, error) {
	checkpoints := filepath.Join(dir, train.CheckpointDir)
	infos, _, err := checkpoint.List(checkpoints)
	if err != nil {
		return Info{}, 0, err
	}
	for i := len(infos) - 1; i >= 0; i-- {
		b, err := checkpoint.RunCopy(checkpoints, infos[i].Step)
		if err != nil {
			continue // an older one may have it
		}
		var info Info
		if json.Unmarshal(b, &info) == nil && info.check(checkpoints) == nil {
			return info, infos[i].Step, nil
		}
	}
	return Info{}, 0, sentence.Errorf("%w that holds a copy of %s", checkpoint.ErrNone, InfoName)
}

// WriteInfo puts info into the folder of a run that has no usable run.json.
func WriteInfo(dir string, info Info) error {
	return disk.WriteJSON(filepath.Join(dir, InfoName), info)
}

// ReadStatus reads status.json of the run in dir; fs.ErrNotExist for a run that was never trained.
func ReadStatus(dir string) (Status, error) {
	var st Status
	err := disk.ReadJSON(filepath.Join(dir, StatusName), maxInfo, &st)
	return st, err
}

// WriteStatus says in the folder of a run whose status was lost that it was interrupted; where it stands, its checkpoints
// say.
func WriteStatus(dir string) error {
	return disk.WriteJSON(filepath.Join(dir, StatusName), Status{State: Interrupted, Updated: time.Now().UTC().Truncate(time.Second)})
}
