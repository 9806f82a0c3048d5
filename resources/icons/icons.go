// Package icons holds the program's own icons: 24 by 24 SVGs of filled shapes, so that a theme can recolour them.
package icons

import "embed"

// FS holds the files, such as "train.svg".
//
//go:embed *.svg
var FS embed.FS
