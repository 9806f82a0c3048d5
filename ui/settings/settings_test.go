package settings_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/ui/kit"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/settings"
)

// choose picks an option of the list that has it.
func choose(t *testing.T, b *pagetest.Bench, option string) {
	t.Helper()
	sel := pagetest.Find(b, func(s *kit.Select) bool {
		for _, o := range s.Options {
			if o == option {
				return true
			}
		}
		return false
	})
	require.NotNil(t, sel, option)
	sel.SetSelected(option)
}

func TestChoicesAreSaved(t *testing.T) {
	b := pagetest.Open(t, settings.New)
	choose(t, b, "Dark")
	b.Wait("the theme", func() bool { return b.S.Studio.Settings.Get().Theme == "dark" })
	choose(t, b, "150 %")
	b.Wait("the scale", func() bool { return b.S.Studio.Settings.Get().Scale == 1.5 })
	choose(t, b, "简体中文")
	b.Wait("the language", func() bool { return b.S.Studio.Settings.Get().Language == "zh" })
	got := b.S.Studio.Settings.Get()
	require.Equal(t, "dark", got.Theme, "a later choice keeps the earlier ones")
}

func TestShowsWhatIsSet(t *testing.T) {
	b := pagetest.Open(t, settings.New)
	st := b.S.Studio.Settings.Get()
	st.Theme, st.Threads = "light", 1
	require.NoError(t, b.S.Studio.Settings.Set(context.Background(), st))
	b.Wait("the controls", func() bool {
		return pagetest.Find(b, func(s *kit.Select) bool { return s.Selected == "Light" }) != nil &&
			pagetest.Find(b, func(s *kit.Select) bool { return s.Selected == "1" }) != nil
	})
	require.Equal(t, st, b.S.Studio.Settings.Get(), "showing a setting does not change it")
}

func TestDevicesThatCannotBeUsedSayWhy(t *testing.T) {
	b := pagetest.Open(t, settings.New)
	devices, err := b.S.Studio.Settings.Devices(context.Background())
	require.NoError(t, err)
	require.NotEmpty(t, devices)
	for _, d := range devices {
		if !d.Available {
			b.WaitText(d.Reason.String())
		}
	}
}

func TestWorkspaceAndTrash(t *testing.T) {
	b := pagetest.Open(t, settings.New)
	b.WaitText(b.S.Studio.Workspace.Path())
	b.WaitText("The trash is empty.")
	d, err := b.S.Studio.Datasets.Import(context.Background(), pagetest.Pictures(t, 3), "Three", nil)
	require.NoError(t, err)
	require.NoError(t, b.S.Studio.Datasets.Delete(context.Background(), d.ID))
	b.WaitText("Dataset · Three")
	b.Tap("Bring back")
	b.WaitText("The trash is empty.")
	_, err = b.S.Studio.Datasets.Get(context.Background(), d.ID)
	require.NoError(t, err)

	require.NoError(t, b.S.Studio.Datasets.Delete(context.Background(), d.ID))
	b.Tap("Empty the trash…")
	b.WaitText("This cannot be undone.")
	b.Tap("Remove for good")
	b.WaitText("The trash is empty.")
	items, err := b.S.Studio.Trash.List(context.Background())
	require.NoError(t, err)
	require.Empty(t, items)
}

func TestCheckShowsWhatIsFoundAndRepairsIt(t *testing.T) {
	b := pagetest.Open(t, settings.New)
	_, err := b.S.Studio.Datasets.Import(context.Background(), pagetest.Pictures(t, 3), "Three", nil)
	require.NoError(t, err)
	b.Tap("Check all files")
	b.WaitText("Everything is whole.")
	b.Tap("Close")
	report := filepath.Join(b.S.Studio.Workspace.Path(), "datasets", "three", "report.json")
	require.NoError(t, os.WriteFile(report, []byte("{"), 0o666))
	status := filepath.Join(b.S.Studio.Workspace.Path(), "runs", "0001-x", "status.json")
	require.NoError(t, os.Mkdir(filepath.Dir(status), 0o777))
	require.NoError(t, os.WriteFile(status, []byte("{"), 0o666))
	b.Tap("Check all files")
	b.WaitText("Lost: 2. Can be repaired: 1. Could not be read: 0.")
	b.WaitText("Import its pictures again: they are where they were. Which of them were excluded is lost.")
	b.Tap("Repair")
	b.WaitText("Repaired · runs/0001-x/status.json")
	b.Tap("Close")
	require.FileExists(t, status+".damaged")
}
