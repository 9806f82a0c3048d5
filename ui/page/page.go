// Package page is what the shell of the window and its pages agree on: the Page interface with its optional
// sides, and the Services the shell hands to every page (navigation, background tasks, messages, undo, dialogs).
//
// Threads: everything here is called on the UI thread unless its comment says otherwise. A page does its work in
// a Task or through Load, and hears of the result once, on the UI thread. A page's Tick runs ten times a second
// while the page is shown; it reads an atomic snapshot and redraws only what has changed.
package page

import "fyne.io/fyne/v2"

// ID names a page.
type ID string

// The pages of the left rail, in their order there; Ctrl+1 opens the first.
const (
	Home     ID = "home"
	Datasets ID = "datasets"
	Train    ID = "train"
	Runs     ID = "runs"
	Gallery  ID = "gallery"
	Models   ID = "models"
	Settings ID = "settings"
)

// Page is one page of the window.
type Page interface {
	// ID names the page.
	ID() ID
	// Title is the page's name in the user's language.
	Title() string
	// Icon is shown in the left rail; it is recoloured by the theme.
	Icon() fyne.Resource
	// Content is the page's tree of widgets. It is called once, when the page is first shown, and must be quick:
	// anything that reads a file comes later, through Load.
	Content() fyne.CanvasObject
	// Shown is called each time the page comes to the front, Hidden each time it leaves.
	Shown()
	Hidden()
}

// Opener is a page that can be opened on something, such as a run or a dataset. Open is called after Shown.
type Opener interface{ Open(target any) }

// Inspected is a page with a pane of details on the right, which the user can hide (Ctrl+I). A nil object means nothing
// to show. Call Services.InspectorChanged when the object itself is replaced.
type Inspected interface{ Inspector() fyne.CanvasObject }

// Ticker is a page that shows something in motion. Tick is called ten times a second on the UI thread while the page
// is shown.
type Ticker interface{ Tick() }

// Starter is a page with a main action; Ctrl+Enter triggers it.
type Starter interface{ Start() }

// KeyHandler is a page that answers keys nobody has the focus for: arrows, Delete, Escape. It returns true when it used
// the key.
type KeyHandler interface {
	TypedKey(ev *fyne.KeyEvent) bool
}

// RuneHandler is a page that answers characters nobody has the focus for, such as '.' (star) or 'i' (metadata).
// It returns true when it used the character.
type RuneHandler interface {
	TypedRune(r rune) bool
}

// Fitter is a page whose picture can be fitted to the window; Ctrl+0 triggers it.
type Fitter interface{ Fit() }

// Selector is a page in which everything can be selected; Ctrl+A triggers it.
type Selector interface{ SelectAll() }

// EventHandler is a page that wants the studio's events, whether it is shown or not. Event is called on the UI thread;
// events of one kind may be merged, so read the present state rather than count them.
type EventHandler interface{ Event(ev any) }

// KeyHelp is a page with keys of its own to be listed under '?'.
type KeyHelp interface{ Keys() []Key }

// Key is one line of the list of keys.
type Key struct {
	Keys string // for example "Ctrl+Enter"
	What string // in the user's language
}

// Dropper is a page that takes files dropped onto the window while it is shown. It returns true when it used them; else the
// folder or zip is imported as a dataset.
type Dropper interface{ Dropped(paths []string) bool }

// ImportPath is a target for the Datasets page: import this folder, zip or IDX file.
type ImportPath struct{ Path string }
