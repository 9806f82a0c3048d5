package ui

import (
	"unnoise/app/events"
	"unnoise/app/studio"
)

var changed = events.RunsChanged{Run: "0001-x"}

const warning = events.Warning

func text(s string) studio.Text { return events.T(s) }
