package train

import (
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/ui/page/pagetest"
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
