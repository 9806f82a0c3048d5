// Package appicon holds the program's own icon: noise on the left that becomes a picture on the right.
package appicon

import _ "embed" // fills PNG

// PNG is the icon, 256 by 256; unnoise.svg is what it was drawn from.
//
//go:embed unnoise.png
var PNG []byte
