package home_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/ui/home"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
)

func TestFirstStartOffersTheDemoAndAFolder(t *testing.T) {
	b := pagetest.Open(t, home.New)
	b.WaitText("Unnoise learns from a folder of your pictures")
	require.NotNil(t, pagetest.Find(b, func(*kit.TapCard) bool { return true }))
	// It came after the page was shown, and has its room: on a slow start nothing else lays the page out again.
	require.Empty(t, b.Cramped())
	require.False(t, b.Shows("Recent runs"))
	require.False(t, b.Shows("Recent galleries"))
	b.Tap("Open a folder…")
	b.Wait("the folder dialog", func() bool { return len(b.Window.Canvas().Overlays().List()) == 1 })
}

// Without the runtime library nothing is fetched before the user has seen what would be fetched and said so.
func TestDemoAsksBeforeItInstallsTheRuntime(t *testing.T) {
	t.Setenv("UNNOISE_ORT_LIB", "/no/such/library.so")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	b := pagetest.Open(t, home.New)
	st, err := b.S.Studio.Settings.Runtime(context.Background())
	if err == nil && st.Installed {
		t.Skip("the library lies where this test cannot hide it")
	}
	require.NoError(t, err)
	b.Tap("Try the demo")
	b.WaitText("Install the runtime library?")
	b.WaitText(st.Network.String())
	b.Tap("Not now")
	b.Turn()
	require.Empty(t, b.S.Tasks())
	list, err := b.S.Studio.Datasets.List(context.Background())
	require.NoError(t, err)
	require.Empty(t, list)
	require.Empty(t, b.Visits)
}

func TestDemoStartsAndShowsTheRun(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	b := pagetest.Open(t, home.New)
	st, err := b.S.Studio.Settings.Runtime(context.Background())
	require.NoError(t, err)
	require.True(t, st.Installed, "make library installs it")
	b.Tap("Try the demo")
	b.Wait("the visit to Train", func() bool { return len(b.Visits) == 1 })
	require.Equal(t, pagetest.Navigation{To: page.Train, Target: page.WatchRun{}}, b.Visits[0])
	b.Wait("the running card", func() bool { return b.Shows("Training · step") && b.Button("Watch it learn") != nil })
	b.WaitText("Recent runs")
	b.Tap("Try the demo")
	b.Wait("the reason", func() bool { return len(b.S.Messages()) == 1 })
	require.Contains(t, b.S.Messages()[0], "A run is training.")
	require.NoError(t, b.S.Studio.Training.Stop())
	require.NoError(t, b.S.Studio.Training.Wait(context.Background()))
	b.WaitText("Stopped")
}
