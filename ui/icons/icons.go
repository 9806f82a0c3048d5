// Package icons gives the window's own icons as resources that follow the theme's colours.
package icons

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"

	files "unnoise/resources/icons"
)

// The icons.
var (
	Home        = load("home")
	Datasets    = load("datasets")
	Train       = load("train")
	Runs        = load("runs")
	Gallery     = load("gallery")
	Models      = load("models")
	Settings    = load("settings")
	Star        = load("star")
	StarOutline = load("star-outline")
	Panel       = load("panel")
	Dice        = load("dice")
	Demo        = load("demo")
	Compare     = load("compare")
	Import      = load("import")
	Trash       = load("trash")
)

func load(name string) *theme.ThemedResource {
	b, err := files.FS.ReadFile(name + ".svg")
	if err != nil { // the files are part of the program, and a test loads them all
		panic(err)
	}
	return theme.NewThemedResource(fyne.NewStaticResource(name+".svg", b))
}
