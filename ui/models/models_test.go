package models_test

import (
	"os"
	"path/filepath"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"github.com/stretchr/testify/require"

	"unnoise/ui/kit"
	"unnoise/ui/models"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
)

func TestNoModels(t *testing.T) {
	b := pagetest.Open(t, models.New)
	b.WaitText("No models yet")
	b.Tap("Train one")
	require.Equal(t, []pagetest.Navigation{{To: page.Train}}, b.Visits)
	require.Nil(t, b.Page.(page.Inspected).Inspector())
}

func TestImportOfWhatIsNoModelSaysWhy(t *testing.T) {
	b := pagetest.Open(t, models.New)
	b.WaitText("No models yet")
	dir := filepath.Join(t.TempDir(), "not a model")
	require.NoError(t, os.Mkdir(dir, 0o755))
	b.Tap("Import a model…")
	entry := pagetest.Find(b, func(e *page.Entry) bool { return e.PlaceHolder == "Folder of the model" })
	require.NotNil(t, entry)
	test.Type(entry, dir)
	b.Tap("Import")
	b.Wait("the reason", func() bool { return len(b.S.Messages()) == 1 })
	require.Contains(t, b.S.Messages()[0], "not a model")
	require.True(t, b.Shows("No models yet"))
}

func TestATrainedRunIsAModel(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	b := pagetest.Open(t, models.New)
	run := b.Train(b.Dataset(6).ID, 2)
	b.WaitText("From your runs")
	card := pagetest.Find(b, func(*kit.TapCard) bool { return true })
	require.NotNil(t, card)
	test.Tap(card)
	pane := b.Page.(page.Inspected).Inspector()
	require.NotNil(t, pane)
	b.Window.SetContent(pane)
	require.True(t, b.Shows(run.Name))
	require.True(t, b.Shows("16 × 16 × "))
	require.Nil(t, b.Button("Move to the trash"), "a run is deleted under Runs")
	b.Tap("Sample it…")
	b.Tap("Show the run")
	require.Equal(t, []pagetest.Navigation{
		{To: page.Gallery, Target: page.NewGallery{Model: run.ID, Checkpoint: -1}},
		{To: page.Runs, Target: page.ShowRun{Run: run.ID}},
	}, b.Visits)
	require.False(t, b.Page.(page.KeyHandler).TypedKey(&fyne.KeyEvent{Name: fyne.KeyDelete}))
}
