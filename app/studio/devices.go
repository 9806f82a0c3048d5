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

// devices is the processors there could be; the runtime of this version computes on the first.
var devices = []Device{
	{Name: "cpu", Label: events.T("Processor (CPU)"), Available: true},
	{Name: "webgpu", Label: events.T("Graphics card (WebGPU)"), Reason: events.T("This version computes on the processor only.")},
	{Name: "cuda", Label: events.T("NVIDIA graphics card (CUDA)"), Reason: events.T("This version computes on the processor only.")},
}

func (s settingsService) Devices(context.Context) ([]Device, error) {
	return append([]Device(nil), devices...), nil
}

// deviceChoices is the devices that a run can ask for.
func deviceChoices() []Choice {
	out := []Choice{{Label: events.T("As in the settings")}}
	for _, d := range devices {
		if d.Available {
			out = append(out, Choice{Value: d.Name, Label: d.Label})
		}
	}
	return out
}
