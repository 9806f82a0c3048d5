package studio

import (
	"context"
	"errors"
	"fmt"

	"unnoise/app/events"
	"unnoise/app/settings"
	"unnoise/runtime/ortlib"
)

type settingsService struct{ *core }

func (s settingsService) Get() Settings {
	v := s.settings.Get()
	if v.Device == "" {
		v.Device = "cpu"
	}
	return Settings(v)
}

func (s settingsService) Set(_ context.Context, n Settings) error {
	changed, err := s.settings.Set(settings.Settings(n))
	if changed {
		s.bus.Publish(events.SettingsChanged{})
	}
	return err
}

func (s settingsService) Recall(name string, into any) bool { return s.settings.Recall(name, into) }

func (s settingsService) Remember(name string, v any) error { return s.settings.Remember(name, v) }

func (s settingsService) Runtime(ctx context.Context) (RuntimeStatus, error) {
	st := RuntimeStatus{
		Network: events.T("It fetches ONNX Runtime {{.Version}} once, with the npm client, from the registry that npm is set to: about {{.Size}}. Nothing of yours is sent.", "Version", ortlib.Version, "Size", fmt.Sprintf("%d MB", ortlib.DownloadBytes/1_000_000)),
	}
	lib, err := ortlib.Find(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return st, ctx.Err()
		}
		if !errors.Is(err, ortlib.ErrNotFound) && !errors.Is(err, ortlib.ErrRefused) {
			return st, err
		}
		st.Problem = events.T("{{.Problem}}", "Problem", err)
		return st, nil
	}
	st.Installed, st.Version, st.Path, st.Source = true, lib.Version, lib.Path, lib.Source
	return st, nil
}

func (s settingsService) InstallRuntime(ctx context.Context, file string, progress ProgressFunc) (RuntimeStatus, error) {
	ctx, end := s.joined(ctx)
	defer end()
	m := newMeter(progress, Text{})
	report := func(done, total int64, what string) {
		m.phase = phase(what)
		m.at(done, total, "")
	}
	var err error
	if file == "" {
		_, err = ortlib.Install(ctx, report)
	} else {
		_, err = ortlib.InstallFrom(ctx, file, report)
	}
	if err != nil {
		return RuntimeStatus{}, err
	}
	s.bus.Publish(events.RuntimeChanged{})
	return s.Runtime(ctx)
}
