package train

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/widgets/form"
)

// What the measured trial says of too little memory and too little room on the disk has its ways out beside it, and each
// does to the form what it says.
func TestShortMemoryAndDiskBeforeTheStart(t *testing.T) {
	b := pagetest.Open(t, New)
	b.Dataset(40)
	s := b.Page.(*Page).setup
	b.Wait("the form", func() bool { return s.ok && s.checked })
	s.fill(s.req.Dataset, "small")
	b.Wait("the preset", func() bool { return s.req.Preset == "small" })
	s.changed(func(r *studio.TrainRequest) { r.Batch, r.KeepLast, r.KeepEvery = 8, 3, 500 })

	short := func(e studio.Estimate) {
		e.SecondsPerStep, e.Memory, e.MemoryFree, e.Disk, e.DiskFree = 1, max(e.Memory, 1), 2<<30, max(e.Disk, 1), 1<<30
		s.showEstimate(e)
		b.Turn()
	}
	short(studio.Estimate{})
	require.Nil(t, b.Button("Halve the batch"), "there is enough of both")
	require.Nil(t, b.Button("Keep only the newest checkpoint"))

	short(studio.Estimate{Memory: 8 << 30})
	b.Tap("Halve the batch")
	require.Equal(t, 4, s.req.Batch)
	require.Nil(t, b.Button("Halve the batch"), "what was measured holds no longer")
	short(studio.Estimate{Memory: 8 << 30})
	b.Tap("Choose the network Tiny")
	b.Wait("the smaller network", func() bool { return s.req.Preset == "tiny" })
	short(studio.Estimate{Memory: 8 << 30})
	require.Nil(t, b.Button("Choose the network Tiny"), "none is smaller")

	s.changed(func(r *studio.TrainRequest) { r.KeepLast, r.KeepEvery = 3, 500 })
	short(studio.Estimate{Disk: 8 << 30})
	require.NotNil(t, b.Button("Open the folder"))
	b.Tap("Keep only the newest checkpoint")
	require.Equal(t, 1, s.req.KeepLast)
	require.Zero(t, s.req.KeepEvery)
}

// entry is the entry of a setting.
func (t *setup) entry(key string) *form.Entry {
	for _, c := range t.fields {
		if c.f.Key == key {
			return c.entry
		}
	}
	return nil
}

func TestSettingsAreChecked(t *testing.T) {
	b := pagetest.Open(t, New)
	b.Dataset(40)
	b.NeedRuntime()
	b.Wait("Start", func() bool { o := b.Button("Start"); return o != nil && !o.Disabled() })
	e := b.Page.(*Page).setup.entry("steps")
	e.Entry.SetText("many")
	b.Turn()
	require.NotEmpty(t, e.Problem())
	require.True(t, b.Button("Start").Disabled())
	e.Entry.SetText("12")
	b.Wait("Start", func() bool { return !b.Button("Start").Disabled() })
	require.Empty(t, e.Problem())
}

// As soon as there is a dataset and a network, the computer is measured, unasked, and the form says how many steps fit
// into each time; a number of one's own ends that, and what was measured serves again.
func TestTimesAreMeasuredUnasked(t *testing.T) {
	b := pagetest.Open(t, New)
	d := b.Dataset(40)
	b.NeedRuntime()
	s := b.Page.(*Page).setup
	b.Wait("the measurement", func() bool { return s.estimated })
	require.EqualValues(t, 3600, s.req.Within, "an hour, unless somebody says otherwise")
	steps := s.est.Steps(time.Hour)
	require.Equal(t, steps, s.req.Steps)
	require.Equal(t, strconv.FormatInt(steps, 10), s.entry("steps").Entry.Text)
	require.Equal(t, "1 hour: about "+page.Int(steps)+" steps", s.budget.Selected)
	require.Less(t, s.est.Steps(10*time.Minute), steps)

	s.budget.SetSelectedIndex(0)
	b.Wait("ten minutes", func() bool { return s.estimated && s.req.Steps == s.est.Steps(10*time.Minute) })
	require.EqualValues(t, 600, s.req.Within)

	first := s.est
	s.fill(d.ID, "small")
	b.Wait("the other network", func() bool { return s.req.Preset == "small" })
	require.False(t, s.estimated, "what was measured is of another network")
	require.EqualValues(t, 600, s.req.Within, "the time stays as it was chosen")
	b.Wait("its measurement", func() bool { return s.estimated })
	require.Greater(t, s.est.SecondsPerStep, first.SecondsPerStep)
	s.fill(d.ID, "tiny")
	b.Wait("the first network", func() bool { return s.req.Preset == "tiny" && s.estimated })
	require.Equal(t, first.SecondsPerStep, s.est.SecondsPerStep, "it is known by now")

	s.entry("steps").Entry.SetText("77")
	b.Wait("the number", func() bool { return s.req.Steps == 77 })
	require.Zero(t, s.req.Within)
	require.Equal(t, "Own number of steps", s.budget.Selected)
	b.Wait("the measurement", func() bool { return s.estimated })
	require.EqualValues(t, 77, s.req.Steps)
}
