package ui

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/test"
	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/ui/i18n"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/widgets/form"
)

// spy is a page that notes what the shell tells it.
type spy struct {
	id      page.ID
	log     []string
	entry   *page.Entry
	details fyne.CanvasObject
}

func (p *spy) ID() page.ID                     { return p.id }
func (p *spy) Title() string                   { return string(p.id) }
func (p *spy) Icon() fyne.Resource             { return icons.Home }
func (p *spy) Shown()                          { p.note("shown") }
func (p *spy) Hidden()                         { p.note("hidden") }
func (p *spy) Start()                          { p.note("start") }
func (p *spy) Fit()                            { p.note("fit") }
func (p *spy) SelectAll()                      { p.note("all") }
func (p *spy) Inspector() fyne.CanvasObject    { return p.details }
func (p *spy) TypedKey(ev *fyne.KeyEvent) bool { p.note(string(ev.Name)); return true }
func (p *spy) TypedRune(r rune) bool           { p.note(string(r)); return r == '.' }
func (p *spy) Open(any)                        { p.note("open") }
func (p *spy) Event(any)                       { p.note("event") }
func (p *spy) note(s string)                   { p.log = append(p.log, s) }
func (p *spy) Content() fyne.CanvasObject      { p.note("content"); return container.NewStack(p.entry) }
func (p *spy) take() (log []string)            { log, p.log = p.log, nil; return log }

// shellOn makes a shell over spies.
func shellOn(t *testing.T) (*pagetest.Bench, *shell, []*spy) {
	b := pagetest.Open(t, nil)
	var spies []*spy
	for _, id := range []page.ID{page.Home, page.Datasets, page.Settings} {
		spies = append(spies, &spy{id: id, entry: b.S.NewEntry()})
	}
	spies[1].details = kit.Text("the details")
	sh := newShell(b.S, fyne.Size{}, func(*page.Services) []page.Page {
		var out []page.Page
		for _, s := range spies {
			out = append(out, s)
		}
		return out
	})
	sh.bindKeys(func() { spies[0].note("quit") })
	b.Window.Resize(fyne.NewSize(1200, 800))
	sh.navigate(page.Home, nil)
	return b, sh, spies
}

func press(b *pagetest.Bench, key fyne.KeyName) {
	b.Window.Canvas().(fyne.Shortcutable).TypedShortcut(&desktop.CustomShortcut{KeyName: key, Modifier: fyne.KeyModifierShortcutDefault})
}

func TestNavigation(t *testing.T) {
	_, sh, spies := shellOn(t)
	require.Equal(t, []string{"content", "shown"}, spies[0].take())
	sh.navigate(page.Datasets, page.ImportPath{Path: "x"})
	require.Equal(t, []string{"hidden"}, spies[0].take())
	require.Equal(t, []string{"content", "shown", "open"}, spies[1].take())
	sh.navigate(page.Home, nil)
	require.Equal(t, []string{"shown"}, spies[0].take(), "a page is built once")
	sh.navigate("no such page", nil)
	require.Equal(t, page.Home, sh.at.ID())
}

func TestKeys(t *testing.T) {
	b, sh, spies := shellOn(t)
	c := b.Window.Canvas()
	press(b, fyne.Key2)
	require.Equal(t, page.Datasets, sh.at.ID())
	press(b, fyne.Key8)
	require.Equal(t, page.Datasets, sh.at.ID(), "there is no eighth page")
	press(b, fyne.KeyComma)
	require.Equal(t, page.Settings, sh.at.ID())
	spies[2].take()
	press(b, fyne.KeyReturn)
	press(b, fyne.Key0)
	c.(fyne.Shortcutable).TypedShortcut(&fyne.ShortcutSelectAll{})
	c.OnTypedKey()(&fyne.KeyEvent{Name: fyne.KeyDelete})
	c.OnTypedRune()('.')
	require.Equal(t, []string{"start", "fit", "all", "Delete", "."}, spies[2].take())

	test.Type(spies[2].entry, ".")
	require.Equal(t, ".", spies[2].entry.Text, "a field keeps its characters")
	require.Empty(t, spies[2].take())
	c.Focus(spies[2].entry)
	spies[2].entry.TypedShortcut(&desktop.CustomShortcut{KeyName: fyne.Key1, Modifier: fyne.KeyModifierShortcutDefault})
	require.Equal(t, page.Home, sh.at.ID(), "the window's shortcuts work from within a field")
	require.Nil(t, c.Focused())
}

func TestKeyListAndEscape(t *testing.T) {
	b, sh, spies := shellOn(t)
	c := b.Window.Canvas()
	c.OnTypedRune()('?')
	require.True(t, b.Shows("Move to the trash"))
	spies[0].take()
	press(b, fyne.Key2)
	c.OnTypedKey()(&fyne.KeyEvent{Name: fyne.KeyDelete})
	c.OnTypedRune()('.')
	require.Empty(t, spies[0].take(), "a dialog keeps the keys to itself")
	require.Equal(t, page.Home, sh.at.ID())
	c.OnTypedKey()(&fyne.KeyEvent{Name: fyne.KeyEscape})
	require.Empty(t, c.Overlays().List())
	require.False(t, b.S.Escape())
}

func TestDetailsCanBeHidden(t *testing.T) {
	b, sh, _ := shellOn(t)
	require.False(t, b.Shows("the details"))
	sh.navigate(page.Datasets, nil)
	require.True(t, b.Shows("the details"))
	b.Window.Canvas().OnTypedRune()('i')
	require.False(t, b.Shows("the details"))
	sh.navigate(page.Home, nil)
	sh.navigate(page.Datasets, nil)
	require.False(t, b.Shows("the details"), "hidden stays hidden")
	sh.togglePanel()
	require.True(t, b.Shows("the details"))
}

func TestDropsGoToThePageOrToDatasets(t *testing.T) {
	_, sh, spies := shellOn(t)
	sh.dropped([]string{"/some/folder"})
	require.Equal(t, page.Datasets, sh.at.ID())
	require.Contains(t, spies[1].take(), "open")
}

func TestEventsReachBuiltPagesOnce(t *testing.T) {
	_, sh, spies := shellOn(t)
	spies[0].take()
	for range 5 {
		sh.receive(studio.Event(changed))
	}
	sh.tick()
	require.Equal(t, []string{"event"}, spies[0].take(), "equal events are merged")
	require.Empty(t, spies[1].take(), "a page that was never shown has nothing to update")
}

func TestNoticesHaveTheirMends(t *testing.T) {
	b, sh, _ := shellOn(t)
	mended := make(chan struct{})
	sh.receive(studio.Notice{
		Severity: warning, Text: text("The disk is full."),
		Mends: []studio.Mend{{Label: text("Empty the trash and continue"), Apply: func(context.Context) error { close(mended); return nil }}},
	})
	sh.tick()
	require.Equal(t, []string{"The disk is full."}, b.S.Messages())
	b.Tap("Empty the trash and continue")
	select {
	case <-mended:
	case <-time.After(10 * time.Second):
		t.Fatal("the mend was not applied")
	}
	require.Empty(t, b.S.Messages())
}

// What has several ways out is told everywhere, and answered on the Train page, where it stays when the message is gone.
func TestNoticesStandOnTheTrainPage(t *testing.T) {
	b := pagetest.Open(t, nil)
	sh := newShell(b.S, fyne.Size{}, makePages)
	sh.navigate(page.Home, nil)
	var mended atomic.Int32
	mend := func(label string, ask studio.Text) studio.Mend {
		return studio.Mend{Label: text(label), Ask: ask, Apply: func(context.Context) error { mended.Add(1); return nil }}
	}
	notice := studio.Notice{Severity: warning, Run: "0007-x", Text: text("It went wrong."), Mends: []studio.Mend{mend("One way", text("Really?")), mend("Another way", studio.Text{})}}
	sh.receive(notice)
	sh.tick()
	require.Equal(t, []string{"It went wrong."}, b.S.Messages())
	require.Nil(t, b.Button("One way"))
	b.Tap("See what helps")
	require.Equal(t, page.Train, sh.at.ID())
	require.Empty(t, b.S.Messages())
	require.True(t, b.Shows("It went wrong."))

	b.Tap("One way")
	b.Wait("the question", func() bool { return b.Shows("Really?") })
	b.Tap("Cancel")
	require.Zero(t, mended.Load())
	sh.receive(notice)
	sh.tick()
	require.Empty(t, b.S.Messages(), "the page says it already")
	b.Tap("Another way")
	b.Wait("the mend", func() bool { return mended.Load() == 1 && !b.Shows("It went wrong.") })
}

func TestTasksShowAndCancel(t *testing.T) {
	b, sh, _ := shellOn(t)
	started := make(chan struct{})
	var got error
	task := b.S.Run("Counting sheep", func(ctx context.Context, report func(page.Progress)) error {
		report(page.Progress{Done: 5, Total: 10, Item: "Dolly"})
		close(started)
		<-ctx.Done()
		return ctx.Err()
	}, func(err error) { got = err })
	<-started
	sh.tick()
	require.True(t, b.Shows("Counting sheep · 5 / 10"))
	require.True(t, b.Shows("Dolly"))
	b.Tap("Cancel")
	b.Wait("the end", func() bool { return got != nil })
	require.ErrorIs(t, got, context.Canceled)
	require.True(t, task.Ended())
	sh.tick()
	require.False(t, b.Shows("Counting sheep"))
	b.S.Fail(got)
	require.Empty(t, b.S.Messages(), "what the user cancelled is no error")
}

func TestMessagesExpireButErrorsStay(t *testing.T) {
	b, _, _ := shellOn(t)
	b.S.Toast("done")
	b.S.Fail(text("the file is broken"))
	require.Equal(t, []string{"done", "The file is broken."}, b.S.Messages())
	b.S.Tick(time.Now().Add(time.Minute))
	require.Equal(t, []string{"The file is broken."}, b.S.Messages())
	for range 10 {
		b.S.Toast("more")
	}
	require.LessOrEqual(t, len(b.S.Messages()), 3, "messages do not pile up")
}

// A window at a large scale on a small screen may be as small as the screen.
func TestTheWindowFitsTheScreen(t *testing.T) {
	require.Equal(t, fyne.NewSize(1440, 870), within(fyne.NewSize(2840, 1700), fyne.NewSize(1440, 870)))
	require.Equal(t, fyne.NewSize(1200, 780), within(fyne.NewSize(1200, 780), fyne.NewSize(1440, 870)))
	require.Equal(t, fyne.NewSize(1200, 780), within(fyne.NewSize(1200, 780), fyne.Size{}), "an unknown screen")
	require.Equal(t, fyne.NewSize(320, 240), within(fyne.Size{}, fyne.NewSize(1440, 870)))
	_, sh, _ := shellOn(t)
	least := sh.frame.MinSize()
	require.InDelta(t, 640, least.Width, 0.1)
	sh.screen = fyne.NewSize(600, 320)
	scale := sh.s.Window.Canvas().Scale()
	require.Equal(t, fyne.NewSize(600/scale, 320/scale), sh.frame.MinSize())
}

func TestNarrowWindow(t *testing.T) {
	b, sh, _ := shellOn(t)
	require.False(t, sh.rail.narrow)
	b.Window.Resize(fyne.NewSize(700, 440))
	require.True(t, sh.rail.narrow)
	sh.navigate(page.Datasets, nil)
	require.False(t, b.Shows("the details"), "there is no room for them unless they are asked for")
	b.Window.Resize(fyne.NewSize(1200, 800))
	require.False(t, sh.rail.narrow)
	require.True(t, b.Shows("the details"))
	b.Window.Resize(fyne.NewSize(700, 440))
	sh.togglePanel()
	require.True(t, b.Shows("the details"))
}

func TestLanguageChangesAtOnce(t *testing.T) {
	b := pagetest.Open(t, nil)
	t.Cleanup(func() { require.NoError(t, i18n.Apply("")) })
	sh := newShell(b.S, fyne.Size{}, makePages)
	sh.navigate(page.Settings, nil)
	require.True(t, b.Shows("Appearance"))
	st := b.S.Studio.Settings.Get()
	st.Language = "zh"
	require.NoError(t, b.S.Studio.Settings.Set(context.Background(), st))
	b.S.Restyle()
	require.Equal(t, "设置", lang.L("Settings"))
	require.True(t, b.Shows("外观"))
	require.False(t, b.Shows("Appearance"))
	require.Equal(t, page.Settings, sh.at.ID())
}

// What was put into a form is still there after a change of the language, and after a restart.
func TestFormsAreRemembered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ws")
	entry := func(b *pagetest.Bench, text string) *form.Entry {
		return pagetest.Find(b, func(e *form.Entry) bool { return e.Entry.Text == text })
	}
	t.Run("before", func(t *testing.T) {
		b := pagetest.OpenAt(t, dir, nil)
		t.Cleanup(func() { require.NoError(t, i18n.Apply("")) })
		sh := newShell(b.S, fyne.Size{}, makePages)
		d := b.Dataset(10)
		sh.navigate(page.Train, nil)
		b.Wait("the form", func() bool { sh.tick(); return entry(b, d.Name) != nil })
		entry(b, d.Name).Entry.SetText("my fish")
		b.Wait("the check", func() bool {
			sh.tick()
			var r studio.TrainRequest
			return b.S.Recall("training", &r) && r.Name == "my fish"
		})
		st := b.S.Studio.Settings.Get()
		st.Language = "zh"
		require.NoError(t, b.S.Studio.Settings.Set(context.Background(), st))
		b.S.Restyle()
		b.Wait("the form in Chinese", func() bool { sh.tick(); return entry(b, "my fish") != nil && b.Shows("训练") })
	})
	t.Run("after", func(t *testing.T) {
		b := pagetest.OpenAt(t, dir, nil)
		sh := newShell(b.S, fyne.Size{}, makePages)
		sh.navigate(page.Train, nil)
		b.Wait("the form", func() bool { sh.tick(); return entry(b, "my fish") != nil })
	})
}

// Every page can be built, shown and left over an empty workspace.
func TestAllPages(t *testing.T) {
	b := pagetest.Open(t, nil)
	sh := newShell(b.S, fyne.Size{}, makePages)
	for range 2 {
		for _, p := range sh.pages {
			sh.navigate(p.ID(), nil)
			b.Turn()
			sh.tick()
			require.Equal(t, p.ID(), sh.at.ID())
			require.True(t, b.Shows(p.Title()), p.ID())
		}
	}
	b.Turn()
	require.Empty(t, b.S.Messages())
}
