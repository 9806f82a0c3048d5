//go:build !engine

package studio

import (
	"context"
	"errors"

	"unnoise/app/trash"
)

// Until the engine's packages compile, these services are not there.
type (
	runService struct {
		*core
		RunService
	}
	trainingService struct {
		*core
		TrainingService
	}
	galleryService struct {
		*core
		GalleryService
	}
	exportService struct {
		*core
		ExportService
	}
	modelService struct {
		*core
		ModelService
	}
)

func (s galleryService) Images(context.Context, ImageFilter) ([]ImageKey, error) {
	return nil, errPending
}

var errPending = errors.New("not there yet")

type supervisor struct{}

func newSupervisor(*core) *supervisor                                    { return &supervisor{} }
func (s *supervisor) run()                                               {}
func (s *supervisor) reload()                                            {}
func (s *supervisor) close(context.Context) error                        { return nil }
func (s *supervisor) snapshot() Snapshot                                 { return Snapshot{} }
func (c *core) noneTraining(*env) error                                  { return nil }
func runStamp(string) (string, error)                                    { return "", errPending }
func galleryStamp(string) (string, error)                                { return "", errPending }
func (c *core) indexRun(context.Context, *env, string, string) error     { return errPending }
func (c *core) indexGallery(context.Context, *env, string, string) error { return errPending }

func (c *core) imagesRestored(context.Context, *env, trash.Entry) error { return errPending }

func (s datasetService) ImportDemo(context.Context, ProgressFunc) (Dataset, error) {
	return Dataset{}, errPending
}
