package kit_test

import (
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"
	"github.com/stretchr/testify/require"

	"unnoise/ui/kit"
)

// A choice in a toolbar has room for its options.
func TestASelectHasRoomForItsOptions(t *testing.T) {
	test.NewTempApp(t)
	s := kit.NewSelect([]string{"a", "held-out loss"}, nil)
	s.SetSelectedIndex(1)
	require.Greater(t, s.MinSize().Width, fyne.MeasureText("held-out loss", theme.TextSize(), fyne.TextStyle{}).Width)
	require.Less(t, kit.NewSelect([]string{"a"}, nil).MinSize().Width, s.MinSize().Width)
}
