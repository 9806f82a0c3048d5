package studio

import (
	"context"

	"unnoise/app/events"
)

// version is the program's; the command sets it when it is built.
var version = "dev"

// SetVersion says which version of the program this is. It is called once, before Open.
func SetVersion(v string) { version = v }

func (s settingsService) Version() string { return version }

// Devices is the processors there could be.
func (s settingsService) Devices(context.Context) ([]Device, error) {
	return []Device{
		{Name: "cpu", Label: events.T("Processor (CPU)"), Available: true},
	}, nil
}
