package ui

import (
	"unnoise/ui/datasets"
	"unnoise/ui/gallery"
	"unnoise/ui/home"
	"unnoise/ui/models"
	"unnoise/ui/page"
	"unnoise/ui/runs"
	"unnoise/ui/settings"
	"unnoise/ui/train"
)

// makePages gives the pages in the order of the rail.
func makePages(s *page.Services) []page.Page {
	return []page.Page{home.New(s), datasets.New(s), train.New(s), runs.New(s), gallery.New(s), models.New(s), settings.New(s)}
}
