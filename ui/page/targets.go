package page

import "unnoise/app/studio"

// The targets that pages give to each other through Services.Navigate.
type (
	// TrainOn asks the Train page to set up a training on a dataset.
	TrainOn struct {
		Dataset    string
		Preprocess *studio.Preprocess // how its pictures are brought to size; nil is what suits them
	}
	// ShowDataset asks the Datasets page to open a dataset.
	ShowDataset struct{ Dataset string }
	// TrainLike asks the Train page to set up a training with the settings of a run.
	TrainLike struct{ Run string }
	// WatchRun asks the Train page to show the running job.
	WatchRun struct{}
	// OpenRun asks the Runs page for a run's own page.
	OpenRun struct{ Run string }
	// ShowRun asks the Runs page to select a run.
	ShowRun struct{ Run string }
	// ShowGallery asks the Gallery page to open a gallery.
	ShowGallery struct{ Gallery string }
	// NewGallery asks the Gallery page for the dialog that samples a model: "" is the newest, checkpoint −1 the newest.
	NewGallery struct {
		Model      string
		Checkpoint int64
	}
)
