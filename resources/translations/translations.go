// Package translations holds the texts of the window in its languages. The keys are the English texts themselves; a value
// is a text, or plural forms ("one", "other") of it. Places such as {{.Count}} are Go templates.
package translations

import "embed"

// FS holds one file a language, named by its tag, such as "zh-Hans.json".
//
//go:embed *.json
var FS embed.FS
