package studio

import (
	"strings"

	"unnoise/app/events"
)

// phase is what the rooms below call a piece of work, as a person reads it.
func phase(what string) Text {
	switch what {
	case "samples":
		return events.T("Drawing samples")
	case "held-out loss":
		return events.T("Measuring the held-out loss")
	case "checkpoint":
		return events.T("Saving a checkpoint")
	case "waiting for another install":
		return events.T("Waiting for another install")
	case "unpacking":
		return events.T("Unpacking")
	case "copying":
		return events.T("Copying")
	case "checking":
		return events.T("Checking the library")
	}
	if strings.HasPrefix(what, "downloading") {
		return events.T("Downloading")
	}
	return Text{Template: what}
}
