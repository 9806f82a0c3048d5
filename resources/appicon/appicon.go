// Package appicon holds the program's own icon: a planet of the demo dataset that appears out of noise.
package appicon

import _ "embed" // fills PNG

// PNG is the icon, 512 by 512, drawn by the function Icon of the package resources/demo.
//
//go:embed unnoise.png
var PNG []byte
