// Package studio is the one door through which the window, and the subcommands that look
// at a workspace, reach everything below: datasets, runs, the running job, galleries,
// exports, models, settings, thumbnails and the trash.
//
// # Opening
//
//	Open(ctx, dir)     for the window: takes the workspace's lock; *workspace.LockedError names who holds it
//	Attach(ctx, dir)   for a subcommand: needs no lock; runs no jobs, may read, annotate and queue
//	(*Studio).Subscribe(fn) (unsubscribe)
//	(*Studio).Close(ctx)   saves and ends a job that runs, then gives the lock back
//	DefaultDir()       where the workspace is when nobody said otherwise
//
// # Threads
//
// Every method may be called from any goroutine. A method whose comment says "quick"
// only reads memory and may be called on the UI thread; every other one may touch the
// disk or compute, so call it on a goroutine of your own.
//
// Callbacks (progress, previews, thumbnails, events) run on goroutines of the services
// and never with a lock held: they may call any method here, and the window wraps what
// it does with its widgets in fyne.Do. Images handed out are never written to again; do
// not draw into them.
//
// Whatever takes a context stops soon after it is cancelled, leaves nothing half done,
// and returns an error for which errors.Is(err, context.Canceled) holds.
//
// Errors are single sentences that can be shown as they are. Many are an events.Text
// inside, so the window can translate them: use errors.AsType or errors.As.
package studio

import (
	"context"
	"image"
	"time"

	"unnoise/app/events"
	"unnoise/app/runs"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
)

// The signals and the translatable sentence, so that a page needs one import only.
type (
	// Text is a translatable sentence; see events.Text.
	Text = events.Text
	// Event is one of the signals in package events.
	Event = events.Event
	// Notice tells the person something they did not ask for; see events.Notice.
	Notice = events.Notice
	// Mend is a button in a Notice; see events.Mend.
	Mend = events.Mend
)

// Progress is how far a piece of work has come.
type Progress struct {
	Phase Text          // what is being done; zero if there is only one thing
	Done  int64         // units finished
	Total int64         // units in all; 0 while unknown
	ETA   time.Duration // time left; 0 while unknown
	Item  string        // the file or image at hand; may be empty
}

// Fraction is Done/Total within [0,1], or −1 while the total is unknown.
func (p Progress) Fraction() float64 {
	if p.Total <= 0 {
		return -1
	}
	return min(1, max(0, float64(p.Done)/float64(p.Total)))
}

// ProgressFunc receives progress at most some twenty times a second, and always the last
// one. nil is allowed wherever one is taken.
type ProgressFunc func(Progress)

// RefKind says what sort of picture a Ref names.
type RefKind uint8

// The pictures there are.
const (
	NoPicture    RefKind = iota
	DatasetItem          // an image of a dataset's source
	GalleryImage         // an image of a gallery
	SampleGrid           // a fixed-seed grid of a run
	RunCover             // the newest grid of a run, whatever it is
	GalleryCover         // the first images of a gallery
	DatasetCover         // the first images of a dataset
)

// Ref names one picture. It is comparable and stays valid over restarts.
type Ref struct {
	Kind  RefKind
	Owner string // ID of the dataset, gallery or run
	Index int    // DatasetItem: the item's index in the scan; SampleGrid: the step
	Name  string // GalleryImage: file name; SampleGrid: file name
}

// Studio is an open workspace with everything in it. See Open and Attach.
//
// The services are fields so that a call reads as studio.Runs.List(…); they are set by
// Open and never change.
type Studio struct {
	Workspace WorkspaceService
	Datasets  DatasetService
	Runs      RunService
	Training  TrainingService
	Galleries GalleryService
	Export    ExportService
	Models    ModelService
	Settings  SettingsService
	Thumbs    ThumbService
	Trash     TrashService

	core *core
}

// ---------------------------------------------------------------- workspace

// WorkspaceInfo describes the folder everything lives in.
type WorkspaceInfo struct {
	Path     string
	Version  int    // of the format
	ReadOnly bool   // true when attached without the lock (see Attach) or the folder cannot be written
	Free     int64  // bytes free on its disk
	Used     int64  // bytes used by the workspace; 0 until Measure was called
	Library  string // path of the index
}

// Holder says which process has the workspace open.
type Holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	What  string    `json:"what"` // "window" or the subcommand
	Since time.Time `json:"since"`
}

// WorkspaceService is the folder itself.
type WorkspaceService interface {
	// Path is the workspace's folder. Quick.
	Path() string
	// Info reads the facts that need no walk over the folder.
	Info(ctx context.Context) (WorkspaceInfo, error)
	// Measure walks the workspace and adds up its files.
	Measure(ctx context.Context) (bytes int64, err error)
	// Move takes the whole workspace to dir, which must be empty or not exist: it copies
	// every file, compares the copies with their originals, saves the new place in the
	// settings, and only then removes the originals. On any error or cancel before that the
	// old folder is untouched and still in use. It is refused while a job runs. The Studio goes on
	// with the new folder; DatasetsChanged{} … LibraryRebuilt{} follow.
	Move(ctx context.Context, dir string, progress ProgressFunc) error
	// Rebuild makes the index anew from the folders. Nothing but the index is written.
	Rebuild(ctx context.Context, progress ProgressFunc) error
	// Check compares every checkpoint, picture and dataset with its hash. With mend, what can be made good is: what a
	// file was before is kept beside it, and nothing is removed that cannot be made again.
	Check(ctx context.Context, mend bool, progress ProgressFunc) (*CheckReport, error)
	// Refresh looks for runs, galleries and datasets that another process added or changed.
	// The Studio does this by itself every two seconds.
	Refresh(ctx context.Context) error
}

// ---------------------------------------------------------------- datasets

// Dataset is the summary of one dataset.
type Dataset struct {
	ID         string       // folder name in the workspace, never changes
	Name       string       // what the person calls it
	Source     durable.Path // of the folder, zip or IDX file
	Kind       string       // "folder", "zip", "idx" or "demo"
	Missing    bool         // the source is not there now (a removed drive)
	Items      int          // readable images, excluded ones among them
	Excluded   int
	Bad        int // files that could not be read
	Duplicates int // groups of near-duplicates
	Classes    []ClassCount
	Sizes      []SizeCount // most frequent first
	Width      int         // suggested training size
	Height     int
	Channels   int     // suggested: 1, 3 or 4
	HeldOut    float64 // share of images set aside for the held-out loss, 0 ≤ HeldOut ≤ 0.5
	Divided    bool    // the source's folders (train, test, val, …) say which images are held out, not HeldOut
	Held       int     // images that are held out
	PassedOver []Text  // what the scan passed over, a sentence for each kind
	Added      time.Time
	Scanned    time.Time
}

// ClassCount is a class and how many images it has.
type ClassCount struct {
	Name  string
	Count int
}

// SizeCount is an image size and how many images have it.
type SizeCount struct{ Width, Height, Count int }

// Item is one image of a dataset.
type Item struct {
	Index         int    // in the scan; stable until the next Rescan
	Name          string // path within the source
	Class         string
	Width, Height int
	Channels      int
	Bits          int
	Format        string
	Excluded      bool
	HeldOut       bool
}

// BadFile is a file that was set aside, and why.
type BadFile struct {
	Name   string
	Reason Text
}

// ItemFilter chooses items; its zero value chooses all that are not excluded.
type ItemFilter struct {
	Class    string // "" is every class
	Search   string // part of the name, letter case ignored
	Excluded bool   // only the excluded ones
	HeldOut  bool   // only the held-out ones
}

// PreviewRequest asks what the network will see of one item.
type PreviewRequest struct {
	Dataset    string
	Item       int
	Preprocess Preprocess
	Seed       uint64 // re-roll by changing it
	Count      int    // how many draws
}

// Preprocess is how an image becomes what the network sees.
type Preprocess struct {
	Width    int    `json:"width"`
	Height   int    `json:"height"`
	Channels int    `json:"channels"`         // 1, 3 or 4
	Fit      string `json:"fit"`              // "crop", "fit" or "stretch"
	Resize   string `json:"resize,omitempty"` // "smooth" or "nearest"
	Flip     bool   `json:"flip"`             // random horizontal flip
	Augment  bool   `json:"augment"`          // quarter turns and flips that the network is told of
}

// PreviewImage is one draw of a preview.
type PreviewImage struct {
	Image     *image.RGBA
	Flipped   bool // mirrored at random, which the network isn't told
	Transform int  // of the augmentation, which it is told; 0 is none
}

// Done says what was done to the image, in the order it was done; nothing if it is as it was.
func (p PreviewImage) Done() []Text {
	var out []Text
	if p.Flipped {
		out = append(out, events.T("mirrored"))
	}
	if p.Transform > 0 && p.Transform < len(transforms) {
		out = append(out, transforms[p.Transform])
	}
	return out
}

// transforms names the symmetries of the square by their bits, see data.View; a mirror is shown by its axis.
var transforms = [8]Text{
	1: events.T("mirrored at |"), 2: events.T("mirrored at –"), 3: events.T("turned 180°"), 4: events.T(`mirrored at \`),
	5: events.T("turned right"), 6: events.T("turned left"), 7: events.T("mirrored at /"),
}

// DatasetService keeps the datasets. A dataset refers to its source and copies nothing.
type DatasetService interface {
	// List is every dataset, newest first.
	List(ctx context.Context) ([]Dataset, error)
	// Get is one of them.
	Get(ctx context.Context, id string) (Dataset, error)
	// Import scans a folder, a zip or an IDX file and adds it. An empty name takes the
	// file's. A dataset appears only once its scan is complete.
	Import(ctx context.Context, path, name string, progress ProgressFunc) (Dataset, error)
	// ImportDemo adds the built-in demo dataset, or returns it if it is there.
	ImportDemo(ctx context.Context, progress ProgressFunc) (Dataset, error)
	// Rescan reads the source again; excluded names stay excluded.
	Rescan(ctx context.Context, id string, progress ProgressFunc) (Dataset, error)
	// Items is the index of every item the filter lets through, in the order of the scan:
	// small enough to hold for 100,000 images. Item(…) has the facts of one.
	Items(ctx context.Context, id string, filter ItemFilter) ([]int32, error)
	// Item is the facts of one item. Quick once Items of that dataset has returned.
	Item(ctx context.Context, id string, index int) (Item, error)
	// Exclude keeps items out of training; Include takes them back in. Both can be undone.
	Exclude(ctx context.Context, id string, items []int) error
	Include(ctx context.Context, id string, items []int) error
	// Bad is the files that were set aside.
	Bad(ctx context.Context, id string) ([]BadFile, error)
	// Duplicates is the groups of near-duplicates, as item indices, without the excluded
	// ones; a group left with one is not listed.
	Duplicates(ctx context.Context, id string) ([][]int, error)
	// KeepOne excludes every item of a group but one. It can be undone.
	KeepOne(ctx context.Context, id string, group []int, keep int) error
	// Preview is what the network will see of an item, drawn Count times.
	Preview(ctx context.Context, req PreviewRequest) ([]PreviewImage, error)
	// Rename changes what the dataset is called.
	Rename(ctx context.Context, id, name string) error
	// SetHeldOut sets the share of images kept out of training, 0 ≤ fraction ≤ 0.5.
	SetHeldOut(ctx context.Context, id string, fraction float64) error
	// Delete moves the dataset to the trash; its source is not touched. It can be undone.
	Delete(ctx context.Context, ids ...string) error
	// RevealPath is the path of an item, or of the source when item is negative, to show in
	// a file manager; for an image within a zip, the zip.
	RevealPath(ctx context.Context, id string, item int) (string, error)
}

// ---------------------------------------------------------------- runs

// RunState is where a run stands.
type RunState string

// The states of a run.
const (
	RunNew         RunState = "new"         // made, no step done
	RunRunning     RunState = "running"     // some process trains it now
	RunPaused      RunState = "paused"      // held by this window
	RunStopped     RunState = "stopped"     // ended by the person before its last step
	RunInterrupted RunState = "interrupted" // its process vanished
	RunDone        RunState = "done"        // all steps done
	RunFailed      RunState = "failed"      // ended by an error
)

// Run is the summary of one run, made from the index.
type Run struct {
	ID       string // folder name, e.g. "0007-sprites"
	Number   int    // 7; 0 when the folder's name has none
	Name     string
	State    RunState
	Error    Text   // why it failed
	Dataset  string // dataset ID, or the source path of a run started elsewhere
	Preset   string
	Step     int64
	Steps    int64
	Loss     float64 // smoothed; NaN while there is none
	HeldOut  float64 // newest held-out loss; NaN while there is none
	Params   int64   // of the network
	Width    int
	Height   int
	Channels int
	Created  time.Time
	Updated  time.Time
	Elapsed  time.Duration // spent training
	Bytes    int64         // on disk, when last indexed
	Notes    string
	Tags     []string
	Starred  bool
	Cover    Ref // newest sample grid; Kind NoPicture while there is none
}

// Smoother is the smoothing of a loss that every list, figure and curve has.
type Smoother = train.Smoother

// Smoothing is the share of the past in it where nobody chose another.
const Smoothing = train.Smoothing

// RunOrder is what a list of runs is sorted by.
type RunOrder string

// The orders of a list of runs.
const (
	ByNumber  RunOrder = "number"
	ByName    RunOrder = "name"
	ByUpdated RunOrder = "updated"
	ByLoss    RunOrder = "loss"
	ByHeldOut RunOrder = "heldout"
	ByStep    RunOrder = "step"
	ByState   RunOrder = "state"
)

// RunFilter chooses and sorts runs; its zero value is all of them, newest first.
type RunFilter struct {
	Search  string // words that must all occur in name, notes, tags, dataset or preset
	Tag     string
	Starred bool
	State   RunState
	Order   RunOrder // "" is ByNumber
	Reverse bool     // turns the order's usual direction (newest, lowest loss or A first) round
	Limit   int      // 0 is no limit
	Offset  int
}

// LogPoint is one line of a run's log.
type LogPoint struct {
	Step         int64
	Time         time.Time
	Loss         float64 // mean since the last line
	Smooth       float64 // over the log's lines; NaN before the first
	HeldOut      float64 // NaN when not measured at this line
	LR           float64
	GradNorm     float64
	ImagesPerSec float64
	Bins         []LossBin // nil when not measured at this line
}

// LossBin is the mean loss within a range of noise levels, from 0 (no noise) to 1 (only
// noise) in the process's own time.
type LossBin struct {
	Lo, Hi  float64
	Train   float64 // NaN if nothing fell within
	HeldOut float64 // NaN if nothing fell within
}

// Grid is one fixed-seed grid of samples.
type Grid struct {
	Ref        Ref
	Step       int64
	Weights    string // "raw" or the EMA's name
	Rows, Cols int    // as the window shows it
	Width      int    // of one cell, in pixels
	Height     int
	Gap        int      // between and around the cells, in pixels
	Classes    []string // of the columns; none where a column has many
}

// Checkpoint is one complete checkpoint of a run or model.
type Checkpoint struct {
	Step    int64
	Time    time.Time
	Bytes   int64
	Weights []string // "raw" and the names of the EMAs, the best choice first
	HeldOut float64  // held-out loss; NaN where it was not measured
	Best    bool     // it has the lowest held-out loss; it is never removed
}

// Checkpoints by name, where a step is asked for.
const (
	NewestCheckpoint = runs.Newest
	BestCheckpoint   = runs.Best
)

// Evaluation is how a checkpoint does on pictures that it was not trained on.
type Evaluation struct {
	Step   int64
	Images int // pictures it was measured on
	// HeldOut says that they are the held-out ones; otherwise the source has changed, and they are all of it.
	HeldOut bool
	Loss    float64
	Bound   *Bound // nil where the model has no chain of steps, as EDM
}

// Bound is an upper bound on the pictures' −log₂ likelihood, the negative ELBO, in bits per dimension, with its three terms.
type Bound struct {
	Bits                  float64 // Prior + Steps + Decoder
	Low, High             float64 // 95 % confidence interval; the same where one picture tells none
	Prior, Steps, Decoder float64
	Useless               bool // it says less than that every value of a pixel is as likely
}

// Interrupted is a run that stopped without saying so.
type Interrupted struct {
	Run  string
	Step int64 // of its newest complete checkpoint
	Lost int64 // steps done after it, to be done again
	Text Text  // “Run 7 stopped at step 4,200. Continue?”
}

// RunService keeps the runs.
type RunService interface {
	// List is the runs the filter lets through; from the index, fast for 10,000.
	List(ctx context.Context, filter RunFilter) ([]Run, error)
	// Count is how many there are with no regard to Limit and Offset.
	Count(ctx context.Context, filter RunFilter) (int, error)
	// Get is one of them.
	Get(ctx context.Context, id string) (Run, error)
	// Tags is every tag in use.
	Tags(ctx context.Context) ([]string, error)
	// Log reads the points after cursor (0 at first) and returns the next cursor. A line
	// still being written is left for the next time. When reset is true the run was rolled
	// back or restarted: forget the earlier points, these are from the start.
	Log(ctx context.Context, id string, cursor int64) (points []LogPoint, next int64, reset bool, err error)
	// Grids is the run's sample grids, by step, then weights.
	Grids(ctx context.Context, id string) ([]Grid, error)
	// Checkpoints is the complete checkpoints, newest first.
	Checkpoints(ctx context.Context, id string) ([]Checkpoint, error)
	// Evaluate measures the averaged weights of a checkpoint on the run's held-out pictures. It may take minutes.
	Evaluate(ctx context.Context, id string, checkpoint int64, progress ProgressFunc) (Evaluation, error)
	// Settings is what the run was started with, as a request for another like it.
	Settings(ctx context.Context, id string) (TrainRequest, error)
	// SetNotes, SetTags, SetName and Star change what the person wrote about a run.
	SetNotes(ctx context.Context, id, notes string) error
	SetTags(ctx context.Context, id string, tags []string) error
	SetName(ctx context.Context, id, name string) error
	Star(ctx context.Context, starred bool, ids ...string) error
	// Delete moves runs to the trash. It is refused for one that is training. It can be undone.
	Delete(ctx context.Context, ids ...string) error
	// Path is the run's folder, to show in a file manager.
	Path(ctx context.Context, id string) (string, error)
	// Interrupted is the runs whose process vanished, newest first.
	Interrupted(ctx context.Context) ([]Interrupted, error)
	// Dismiss takes a run off that list: it becomes a stopped one.
	Dismiss(ctx context.Context, id string) error
}

// ---------------------------------------------------------------- training

// Preset is a ready-made choice of network and settings.
type Preset struct {
	Name    string
	Label   Text
	Help    Text // one or two sentences: for whom, how big, how long
	Params  int64
	Default bool
}

// TrainRequest is all that can be said about a run before it starts.
type TrainRequest struct {
	Name       string     `json:"name"`
	Dataset    string     `json:"dataset"` // ID
	Preset     string     `json:"preset"`
	Preprocess Preprocess `json:"preprocess"`
	Steps      int64      `json:"steps"`
	// Within is how long the training may take, in seconds: the number of steps is measured when it starts. 0 is as long
	// as its Steps take.
	Within          int64   `json:"within,omitempty"`
	Batch           int     `json:"batch"`
	Seed            uint64  `json:"seed"`
	Objective       string  `json:"objective"` // eps, x0, v or edm
	Schedule        string  `json:"schedule"`  // linear, scaled_linear, cosine or sigmoid
	Weighting       string  `json:"weighting"` // simple or min-snr
	LR              float64 `json:"lr"`
	Warmup          int64   `json:"warmup"` // steps
	Conditional     bool    `json:"conditional"`
	SampleEvery     int64   `json:"sample_every"`
	CheckpointEvery int64   `json:"checkpoint_every"`
	KeepLast        int     `json:"keep_last"`
	KeepEvery       int64   `json:"keep_every"`
	Device          string  `json:"device"`  // "" is that of the settings
	Threads         int     `json:"threads"` // 0 is that of the settings
	// FromRun is the run these settings were cloned from; only noted.
	FromRun string `json:"from_run,omitempty"`
}

// FieldKind is what sort of control a Field wants.
type FieldKind string

// The kinds of field.
const (
	NumberField FieldKind = "number" // whole number
	FloatField  FieldKind = "float"
	ChoiceField FieldKind = "choice"
	BoolField   FieldKind = "bool" // "true" or "false"
)

// Choice is one value of a ChoiceField.
type Choice struct {
	Value string
	Label Text
}

// Field describes one setting of a TrainRequest, so that a form can be made from the list.
type Field struct {
	Key      string
	Label    Text
	Help     Text // one sentence
	Advanced bool
	Kind     FieldKind
	Choices  []Choice
	// Get is the value as text; Set parses and checks text and says what is wrong with it.
	// Both are quick.
	Get func(TrainRequest) string
	Set func(*TrainRequest, string) error
}

// Problem is a reason why Start is disabled.
type Problem struct {
	Field string // key of the Field it concerns; "" is none in particular
	Text  Text
	Mends []Mend // ways out
}

// Estimate is what a run will cost, from a measured trial.
type Estimate struct {
	SecondsPerStep float64
	ImagesPerSec   float64
	Duration       time.Duration // of the whole run
	Memory         int64         // bytes at its peak
	MemoryFree     int64
	Disk           int64 // bytes written in the end
	DiskFree       int64
	Params         int64
	Warnings       []Text

	pace  train.Estimate
	times train.Config // the intervals of the request
}

// Steps is how many steps of a new run fit into a time.
func (e Estimate) Steps(within time.Duration) int64 { return e.pace.Steps(e.times, 0, within) }

// JobState is what the running job does.
type JobState string

// The states of the job.
const (
	JobIdle     JobState = "idle"     // nothing runs
	JobStarting JobState = "starting" // decoding, compiling
	JobTraining JobState = "training"
	JobPausing  JobState = "pausing"
	JobPaused   JobState = "paused"
	JobSampling JobState = "sampling" // a grid, then on with what it did
	JobStopping JobState = "stopping" // saving
)

// Snapshot is the running job at a moment.
type Snapshot struct {
	State        JobState
	Run          string // ID; "" while none or still being made
	Name         string
	Phase        Text // what is being done while starting, sampling or stopping
	Step         int64
	Steps        int64
	Loss         float64 // newest
	Smooth       float64
	HeldOut      float64 // NaN while not measured
	LR           float64
	ImagesPerSec float64
	ETA          time.Duration // 0 while unknown
	Elapsed      time.Duration // spent training, without pauses, over all processes
	GridStep     int64         // step of the newest sample grid; −1 while none
	SampleDone   int           // while JobSampling: sampler steps done …
	SampleTotal  int           // … of so many
	Queued       int           // entries waiting
	Held         bool          // the queue does not go on by itself
}

// Busy says whether a job holds the network in memory.
func (s Snapshot) Busy() bool { return s.State != JobIdle && s.State != "" }

// QueueEntry is one training waiting its turn.
type QueueEntry struct {
	ID      string
	Request TrainRequest
	Run     string // ID of the run to continue; "" is a new run
	Added   time.Time
	Error   Text // why its last start failed
}

// TrainingService starts, holds and ends training; at most one job runs at a time.
type TrainingService interface {
	// Presets is the ready-made choices, the default first. Quick.
	Presets() []Preset
	// Fields describes every setting, in the order to show them. Quick.
	Fields() []Field
	// Defaults is a request for a dataset with a preset ("" is the default one).
	Defaults(ctx context.Context, dataset, preset string) (TrainRequest, error)
	// Check is the reasons why a request cannot start; none if it can.
	Check(ctx context.Context, req TrainRequest) ([]Problem, error)
	// Estimate measures a few real steps of the request's network, seconds long; but not again, unless anew says so, where
	// one as fast was measured before. It is refused while a job runs, and cancelled when one starts.
	Estimate(ctx context.Context, req TrainRequest, anew bool) (Estimate, error)

	// Start puts a request at the head of the queue and starts it. It is refused while a job
	// runs; use Enqueue then.
	Start(ctx context.Context, req TrainRequest) error
	// StartDemo imports the demo dataset if need be and trains its preset.
	StartDemo(ctx context.Context, progress ProgressFunc) error
	// ContinueRun trains a stopped, interrupted or failed run on from its newest checkpoint;
	// steps > 0 sets a new last step. It is queued if a job runs.
	ContinueRun(ctx context.Context, run string, steps int64) error

	// Pause holds the job after its step and keeps the network in memory; Resume goes on.
	// Both return at once; JobChanged follows.
	Pause() error
	Resume() error
	// SampleNow draws the fixed-seed grid after this step; a paused job stays paused.
	SampleNow() error
	// Stop saves a checkpoint and ends the job; the queue is held. It returns at once; Wait waits.
	Stop() error
	// Wait returns when no job runs and none is about to (the queue is empty or held), or when ctx ends.
	Wait(ctx context.Context) error
	// Snapshot is the job now. Quick and free: meant for a 10 Hz ticker. After the last
	// change of a job it holds that job's last values until another starts.
	Snapshot() Snapshot

	// Queue is what waits, next first. Quick.
	Queue() []QueueEntry
	// Enqueue adds a request at the end. It starts by itself if nothing runs and the queue is not held.
	Enqueue(ctx context.Context, req TrainRequest) (id string, err error)
	// Reorder puts an entry at a place, 0 being next.
	Reorder(ctx context.Context, id string, place int) error
	// Remove takes an entry out. It can be undone.
	Remove(ctx context.Context, id string) error
	// Hold stops the queue from going on by itself, or lets it go on. It is held at the
	// start of the program when anything waits: nothing trains without a click.
	Hold(ctx context.Context, held bool) error
}

// ---------------------------------------------------------------- galleries

// Gallery is the summary of one gallery.
type Gallery struct {
	ID      string
	Name    string
	Images  int
	Starred int
	Run     string // of its first image
	Created time.Time
	Updated time.Time
	Cover   Ref
}

// SampleRequest asks for a gallery.
type SampleRequest struct {
	Gallery    string  `json:"gallery"`    // ID to add to, or "" for a new one
	Name       string  `json:"name"`       // of a new one; "" makes one up
	Model      string  `json:"model"`      // Model.ID: a run or an imported model
	Checkpoint int64   `json:"checkpoint"` // step, NewestCheckpoint or BestCheckpoint
	Weights    string  `json:"weights"`    // "raw" or an EMA's name; "" is the best
	Sampler    string  `json:"sampler"`
	Steps      int     `json:"steps"`
	Spacing    string  `json:"spacing,omitempty"` // of the steps on the noise levels; "" is the sampler's own way
	Eta        float64 `json:"eta"`               // DDIM's η, 0 ≤ η ≤ 1
	Clip       bool    `json:"clip"`
	Class      string  `json:"class"` // "" is any
	Seed       uint64  `json:"seed"`
	First      int     `json:"first"` // index of the first image within the seed's noise; 0 unless images are made again
	Count      int     `json:"count"`
}

// SampleProgress is how far the making of a gallery has come.
type SampleProgress struct {
	Gallery   string // ID
	Done      int    // images written
	Total     int
	Step      int // of the batch at hand
	Steps     int
	ETA       time.Duration
	PerSecond float64 // images
	// First is the place of the first preview among the Total, Previews the x̂0 of the batch at hand at this
	// step; empty between previews.
	First    int
	Previews []*image.RGBA
}

// SamplerInfo explains one sampler.
type SamplerInfo struct {
	Name       string
	Label      Text
	Help       Text
	Steps      int  // a good number
	Min, Max   int  // of steps
	UsesEta    bool // whether η matters
	Stochastic bool // whether it adds noise at each step
}

// GalleryImageInfo is all that is known of one image, read from the image itself.
type GalleryImageInfo struct {
	Ref        Ref
	Width      int
	Height     int
	Seed       uint64
	Index      int // of the image within the seed's noise
	Model      string
	Checkpoint int64
	Weights    string
	Sampler    string
	Steps      int
	Spacing    string // "" is the sampler's own way
	Eta        float64
	Clip       bool // whether x̂0 was limited to the range of pixels at each step
	Schedule   string
	Class      string
	Created    time.Time
	Version    string // of the program
	Starred    bool
	Parameters string            // the line image browsers read
	Extra      map[string]string // what else was found in the file
	Path       string
}

// ImageFilter chooses and sorts images; its zero value with a Gallery is all of them in
// the order made.
type ImageFilter struct {
	Gallery string // "" is every gallery
	// Search is words that must all match. A plain word matches any of the text fields; a
	// pair such as sampler:ddim, steps:>20, seed:42, class:cat, model:7, step:4200 or
	// is:starred matches that field.
	Search  string
	Starred bool
	Newest  bool // newest first
}

// ImageKey is the little that a grid needs of each image.
type ImageKey struct {
	Ref     Ref
	Starred bool
}

// TrajectoryStep is one step of a sampler on one image.
type TrajectoryStep struct {
	Index int
	Alpha float64 // x_t = Alpha·x0 + Sigma·ε
	Sigma float64
	Xt    *image.RGBA
	X0    *image.RGBA // x̂0, what the network expects to end with
	Eps   *image.RGBA // ε̂, the noise it sees
}

// InterpolateRequest asks for a walk from one seed's noise to another's along the great
// circle (slerp).
type InterpolateRequest struct {
	Sample SampleRequest // Seed and Count are not used
	SeedA  uint64
	IndexA int
	SeedB  uint64
	IndexB int
	Frames int // with both ends, at least 2
}

// Neighbour is a training image near to a sample.
type Neighbour struct {
	Ref      Ref         // Kind NoPicture if the dataset is not in the workspace any more
	Image    *image.RGBA // as the network saw it
	Name     string
	Class    string
	Distance float64 // root of the mean squared difference of the pixels, 0 … 1
}

// GalleryService makes and keeps galleries.
type GalleryService interface {
	// Samplers is the samplers there are, the default first. Quick.
	Samplers() []SamplerInfo
	// Defaults is a request for a model ("" is the newest run with a checkpoint).
	Defaults(ctx context.Context, model string) (SampleRequest, error)
	// Check is the reasons why a request cannot start; none if it can.
	Check(ctx context.Context, req SampleRequest) ([]Problem, error)
	// Time is about how long a request will take: by what was sampled of its model since the program started, or by how fast
	// its run trained; 0 where neither is known.
	Time(ctx context.Context, req SampleRequest) (time.Duration, error)
	// List is every gallery, newest first.
	List(ctx context.Context) ([]Gallery, error)
	Get(ctx context.Context, id string) (Gallery, error)
	// Create samples a gallery and returns when it is done. Images finished before a cancel
	// stay in it. It waits its turn if another gallery is being made.
	Create(ctx context.Context, req SampleRequest, progress func(SampleProgress)) (Gallery, error)
	// Images is the images that the filter lets through; fast for 100,000.
	Images(ctx context.Context, filter ImageFilter) ([]ImageKey, error)
	// Info is all that is known of an image.
	Info(ctx context.Context, ref Ref) (GalleryImageInfo, error)
	// Star sets or takes the star of images.
	Star(ctx context.Context, starred bool, refs ...Ref) error
	// Rename changes what a gallery is called.
	Rename(ctx context.Context, id, name string) error
	// Delete moves galleries to the trash, DeleteImages some images. Both can be undone.
	Delete(ctx context.Context, ids ...string) error
	DeleteImages(ctx context.Context, refs ...Ref) error
	// UseSettings is the request that made an image, for making it again with others like it: the same pixels, on the
	// same device with as many at once.
	UseSettings(ctx context.Context, ref Ref) (SampleRequest, error)
	// Trajectory samples an image again and keeps x_t, x̂0 and ε̂ of each step; the last element, with Sigma 0, is
	// the image itself.
	Trajectory(ctx context.Context, ref Ref, progress ProgressFunc) ([]TrajectoryStep, error)
	// Interpolate samples a walk between two seeds and returns its frames.
	Interpolate(ctx context.Context, req InterpolateRequest, progress ProgressFunc) ([]*image.RGBA, error)
	// Nearest is the k training images nearest to a sample, to see memorising.
	Nearest(ctx context.Context, ref Ref, k int, progress ProgressFunc) ([]Neighbour, error)
	// Difference is |a−b| of two pictures of one size, and its mean over pixels and channels, 0 … 1.
	Difference(ctx context.Context, a, b Ref) (*image.RGBA, float64, error)
	// Path is the folder of a gallery or the file of an image, to show in a file manager.
	Path(ctx context.Context, ref Ref) (string, error)
}

// ---------------------------------------------------------------- export

// PNGOptions is how pictures are written one by one.
type PNGOptions struct {
	Metadata bool // with how each was made
	Scale    int  // whole-number magnification with crisp pixels; 0 is 1
}

// SheetOptions is how a contact sheet looks.
type SheetOptions struct {
	Columns  int // 0 makes it about square
	Spacing  int // pixels between pictures and around them
	Scale    int // whole-number magnification with crisp pixels, at least 1
	Labels   bool
	Metadata bool // the sheet carries the settings of its first image
}

// AnimationOptions is how an animation looks.
type AnimationOptions struct {
	Format string  // "gif", "apng" or "webp"
	FPS    float64 // frames per second
	Hold   float64 // seconds the last frame stays
	Scale  int     // whole-number magnification with crisp pixels, at least 1
}

// ExportService writes files for use elsewhere. Each is written whole or not at all, and
// never over a file that is there unless Overwrite says so.
type ExportService interface {
	// Images writes each image as a PNG into dir, with its metadata or without any, and
	// returns the paths. Names that are taken get a number.
	Images(ctx context.Context, refs []Ref, dir string, opt PNGOptions, progress ProgressFunc) ([]string, error)
	// Sheet writes one PNG with all the images.
	Sheet(ctx context.Context, refs []Ref, out string, opt SheetOptions, progress ProgressFunc) error
	// Zip writes one zip of PNGs.
	Zip(ctx context.Context, refs []Ref, out string, opt PNGOptions, progress ProgressFunc) error
	// Frames writes pictures as an animation; for a trajectory or an interpolation.
	Frames(ctx context.Context, frames []*image.RGBA, out string, opt AnimationOptions, progress ProgressFunc) error
	// TimeLapse writes a run's sample grids as an animation; weights "" is the best.
	TimeLapse(ctx context.Context, run, weights, out string, opt AnimationOptions, progress ProgressFunc) error
	// Model writes a model's weights as a diffusers folder ("diffusers") or an ONNX file ("onnx").
	Model(ctx context.Context, model string, checkpoint int64, weights, format, out string, progress ProgressFunc) error
	// Suggest is a free path for an export, in the folder used last: kind is "images",
	// "sheet", "zip", "gif", "apng", "webp", "diffusers" or "onnx".
	Suggest(kind, name string) string
}

// ---------------------------------------------------------------- models

// Model is something that can be sampled.
type Model struct {
	ID         string // run ID, or "model:" and the folder's name
	Name       string
	Imported   bool
	Source     string // where it came from: the dataset's name or the imported path
	Objective  string
	Schedule   string
	Preset     string
	Params     int64
	Width      int
	Height     int
	Channels   int
	Classes    []string
	Newest     int64    // step of the newest checkpoint; 0 for an imported one
	Weights    []string // "raw" and EMAs
	Created    time.Time
	Bytes      int64
	Provenance []Fact
	Notes      []Text // of an imported one: what was taken for granted
	Cover      Ref
}

// Fact is a line of a model's provenance.
type Fact struct {
	Label Text
	Value string
}

// ModelService is the models: every run with a checkpoint, and imported ones.
type ModelService interface {
	List(ctx context.Context) ([]Model, error)
	Get(ctx context.Context, id string) (Model, error)
	// Import takes a copy of a diffusers folder (with unet/config.json, or config.json and
	// the weights side by side), after checking that it can be run.
	Import(ctx context.Context, path, name string, progress ProgressFunc) (Model, error)
	// Rename changes what an imported model is called.
	Rename(ctx context.Context, id, name string) error
	// Delete moves imported models to the trash. It can be undone.
	Delete(ctx context.Context, ids ...string) error
	// Path is its folder.
	Path(ctx context.Context, id string) (string, error)
}

// ---------------------------------------------------------------- settings

// Settings is what the person chose for the program.
type Settings struct {
	Device    string  // "cpu", "webgpu" or "cuda"
	Threads   int     // 0 is all cores
	Workspace string  // folder; opened at the next start, see WorkspaceService.Move
	Language  string  // "" is the system's, else "en" or "zh"
	Theme     string  // "" is the system's, else "light" or "dark"
	Scale     float64 // of the window, 1 is 100 %; 0 is the system's
	ExportDir string  // folder used last for exports
}

// Device is a processor that can train.
type Device struct {
	Name      string // "cpu", "webgpu", "cuda"
	Label     Text
	Available bool
	Reason    Text // why not
}

// RuntimeStatus is how it stands with the runtime library.
type RuntimeStatus struct {
	Installed bool
	Version   string
	Path      string
	Source    string // where it was found
	Problem   Text   // why it cannot be used, or how to get it
	Network   Text   // what Install will do on the network, to be shown before it is clicked
}

// SettingsService keeps the settings and the runtime library.
type SettingsService interface {
	// Get is the settings now. Quick.
	Get() Settings
	// Set checks and saves them; SettingsChanged follows.
	Set(ctx context.Context, s Settings) error
	// Recall fills into with what was last remembered under a name, and says false when there is nothing that fits. Quick.
	Recall(name string, into any) bool
	// Remember keeps a value, as JSON, under a name: it is there again after a restart.
	Remember(name string, v any) error
	// Devices is the processors there could be, with reasons for those that cannot be used.
	Devices(ctx context.Context) ([]Device, error)
	// Runtime looks for the runtime library.
	Runtime(ctx context.Context) (RuntimeStatus, error)
	// InstallRuntime fetches it. This is the only thing in the program that uses the network.
	// A file that is named, the package's archive or the library itself, spares the network.
	InstallRuntime(ctx context.Context, file string, progress ProgressFunc) (RuntimeStatus, error)
	// Version is the program's. Quick.
	Version() string
}

// ---------------------------------------------------------------- thumbnails

// ThumbService makes small pictures and opens large ones.
type ThumbService interface {
	// Cached is the picture if it is in memory, else nil. Quick.
	Cached(ref Ref, px int) *image.RGBA
	// Request makes the picture whose longer side is px device pixels, from memory, disk or
	// the source, and calls done on a worker. The newest request is served first. Pictures
	// smaller than px are enlarged by whole steps with crisp pixels. cancel is quick, drops the request if it
	// has not begun, and keeps done from being called later; a call that has begun goes on.
	Request(ref Ref, px int, done func(*image.RGBA, error)) (cancel func())
	// Image is the whole picture.
	Image(ctx context.Context, ref Ref) (*image.RGBA, error)
	// Forget drops what is kept of an owner, after its pictures changed.
	Forget(owner string)
	// Memory is the bytes that are kept in memory. Quick.
	Memory() int64
}

// ---------------------------------------------------------------- trash

// TrashItem is one thing in the trash.
type TrashItem struct {
	ID      string
	Kind    string // "dataset", "run", "gallery", "images" or "model"
	Name    string
	Deleted time.Time
	Bytes   int64
}

// TrashService brings things back. Nothing is ever removed without being asked.
type TrashService interface {
	// CanUndo is what Undo would take back. Quick.
	CanUndo() (Text, bool)
	// Undo takes back the newest change that can be, and says what it was.
	Undo(ctx context.Context) (Text, error)
	// List is what is in the trash, newest first.
	List(ctx context.Context) ([]TrashItem, error)
	// Restore brings things back to where they were.
	Restore(ctx context.Context, ids ...string) error
	// Purge removes for good what was deleted before olderThan ago, and returns the bytes freed.
	Purge(ctx context.Context, olderThan time.Duration, progress ProgressFunc) (int64, error)
}
