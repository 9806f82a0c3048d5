package datasets_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/test"
	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/ui/datasets"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/widgets/imagegrid"
)

func open(t *testing.T) *pagetest.Bench {
	b := pagetest.Open(t, datasets.New)
	b.WaitText("No datasets yet")
	return b
}

// imported brings a folder of pictures in through the page.
func imported(t *testing.T, b *pagetest.Bench, dir string) {
	t.Helper()
	b.Page.(page.Opener).Open(page.ImportPath{Path: dir})
	b.Wait("the dataset", func() bool { return b.Button("Train on it") != nil && b.Shows("images") })
}

func grid(b *pagetest.Bench) *imagegrid.Grid[studio.Ref] {
	return pagetest.Find(b, func(*imagegrid.Grid[studio.Ref]) bool { return true })
}

func tabs(b *pagetest.Bench) *container.AppTabs {
	return pagetest.Find(b, func(*container.AppTabs) bool { return true })
}

func TestImportByDialog(t *testing.T) {
	dir := pagetest.Pictures(t, 12, "cats", "dogs")
	b := open(t)
	b.Tap("Import…")
	entry := pagetest.Find(b, func(e *page.Entry) bool { return e.PlaceHolder == "Folder, zip or IDX file" })
	require.NotNil(t, entry)
	require.True(t, b.Button("Import").Disabled(), "nothing to import yet")
	test.Type(entry, dir)
	b.Tap("Import")
	b.WaitText("12 images · 2 classes")
	b.Wait("the images", func() bool { return grid(b).Len() == 12 })

	b.Tap("Train on it")
	list, err := b.S.Studio.Datasets.List(context.Background())
	require.NoError(t, err)
	require.Equal(t, []pagetest.Navigation{{To: page.Train, Target: page.TrainOn{Dataset: list[0].ID}}}, b.Visits)
}

func TestImportOfNothingSaysWhy(t *testing.T) {
	b := open(t)
	b.Page.(page.Opener).Open(page.ImportPath{Path: filepath.Join(t.TempDir(), "no such folder")})
	b.Wait("a message", func() bool { return len(b.S.Messages()) == 1 })
	require.Contains(t, b.S.Messages()[0], "no such folder")
	b.WaitText("No datasets yet")
}

func TestExcludeAndUndo(t *testing.T) {
	dir := pagetest.Pictures(t, 10)
	b := open(t)
	imported(t, b, dir)
	b.Wait("the images", func() bool { return grid(b).Len() == 10 })
	g := grid(b)
	g.SelectAll()
	b.Turn()
	require.Contains(t, b.Texts(), "10 images · 10 selected")
	g.Select(3)
	b.Page.(page.KeyHandler).TypedKey(&fyne.KeyEvent{Name: fyne.KeyDelete})
	b.Wait("the exclusion", func() bool { return grid(b).Len() == 9 && b.Shows("1 excluded") })
	require.Equal(t, []string{"1 image is excluded"}, b.S.Messages())

	b.S.Undo()
	b.Wait("the undo", func() bool { return grid(b).Len() == 10 })
	require.False(t, b.Shows("1 excluded"))
}

func TestBadFilesHaveReasons(t *testing.T) {
	dir := pagetest.Pictures(t, 5)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "broken.png"), []byte("\x89PNG\r\n\x1a\nnonsense"), 0o600))
	b := open(t)
	imported(t, b, dir)
	b.Wait("the count", func() bool { return tabs(b).Items[4].Text == "Bad files (1)" })
	tabs(b).SelectIndex(4)
	b.WaitText("broken.png")
}

func TestNearDuplicatesKeepOne(t *testing.T) {
	dir := pagetest.Pictures(t, 6)
	one, err := os.ReadFile(filepath.Join(dir, "aa.png"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "copy.png"), one, 0o600))
	b := open(t)
	imported(t, b, dir)
	b.Wait("the count", func() bool { return tabs(b).Items[3].Text == "Near-duplicates (1)" })
	tabs(b).SelectIndex(3)
	b.Tap("Keep this one")
	b.Wait("the mend", func() bool { return b.Shows("No images look alike.") && b.Shows("1 excluded") })
}

func TestWhatTheNetworkSees(t *testing.T) {
	b := open(t)
	imported(t, b, pagetest.Pictures(t, 8))
	tabs(b).SelectIndex(2)
	drawn := func() (n int) {
		pagetest.Find(b, func(p *kit.Picture) bool {
			if p.Image() != nil {
				n++
			}
			return false
		})
		return n
	}
	b.Wait("the draws", func() bool { return drawn() >= 5*2 })
	require.True(t, b.Shows("16 × 16"))
	require.Nil(t, b.Button("Roll again"), "nothing is drawn by chance")
	pagetest.Find(b, func(s *kit.Select) bool { return s.Selected == "Smooth" }).SetSelected("Hard pixels")
	b.Tap("Train with these")
	on, ok := b.Visits[len(b.Visits)-1].Target.(page.TrainOn)
	require.True(t, ok)
	require.Equal(t, studio.Preprocess{Width: 16, Height: 16, Channels: 3, Fit: "crop", Resize: "nearest"}, *on.Preprocess)
	told := func() bool { return b.Shows("turned") || b.Shows("mirrored") }
	require.False(t, told(), "the pictures are as they are")
	augment := pagetest.Find(b, func(c *kit.Check) bool { return c.Text == "Turn and mirror, and tell the network" })
	augment.SetChecked(true)
	b.Wait("what was done to them", told)
	b.Tap("Roll again")
	b.Wait("new draws", func() bool { return drawn() >= 5*7 })
}

func TestHeldOutShare(t *testing.T) {
	b := open(t)
	imported(t, b, pagetest.Pictures(t, 20))
	list, err := b.S.Studio.Datasets.List(context.Background())
	require.NoError(t, err)
	require.NoError(t, b.S.Studio.Datasets.SetHeldOut(context.Background(), list[0].ID, 0.25))
	tabs(b).SelectIndex(1)
	b.WaitText("25 %: about 5 of 20 images are held out.")
}

// The folders of a dataset that is divided already say what is held out, and what was passed over is told.
func TestDividedDataset(t *testing.T) {
	dir := t.TempDir()
	for _, part := range []string{"train", "test"} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, part), os.DirFS(pagetest.Pictures(t, map[string]int{"train": 12, "test": 4}[part], "cats", "dogs"))))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "IMG_1.HEIC"), []byte("x"), 0o600))
	b := open(t)
	imported(t, b, dir)
	tabs(b).SelectIndex(1)
	b.WaitText("The folders (train, test, val) say which images are held out: 4 of 16.")
	b.WaitText("HEIC pictures, which cannot be read: 1, such as IMG_1.HEIC. Save them as PNG or JPEG")
	list, err := b.S.Studio.Datasets.List(context.Background())
	require.NoError(t, err)
	require.Equal(t, []studio.ClassCount{{Name: "cats", Count: 8}, {Name: "dogs", Count: 8}}, list[0].Classes)
	held, err := b.S.Studio.Datasets.Items(context.Background(), list[0].ID, studio.ItemFilter{HeldOut: true})
	require.NoError(t, err)
	require.Len(t, held, 4)
}

func TestTrashAndBack(t *testing.T) {
	b := open(t)
	imported(t, b, pagetest.Pictures(t, 4))
	list, err := b.S.Studio.Datasets.List(context.Background())
	require.NoError(t, err)
	require.NoError(t, b.S.Studio.Datasets.Delete(context.Background(), list[0].ID))
	b.WaitText("No datasets yet")
	b.S.Undo()
	b.Wait("the dataset", func() bool { return !b.Shows("No datasets yet") && b.Shows("4 images") })
}
