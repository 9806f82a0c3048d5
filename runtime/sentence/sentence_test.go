package sentence

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTextFillsItsPlaces(t *testing.T) {
	x := T("Run {{.Number}} stopped at step {{.Step}}. Continue?", "Number", 7, "Step", 4200)
	require.Equal(t, "Run 7 stopped at step 4200. Continue?", x.String())
	require.Equal(t, "50 % {{", T("50 % {{").String(), "what is not a template is shown as it is")
	require.Equal(t, "{{.A", T("{{.A", "A", 1).String())
	require.Equal(t, "It stopped: Run 7 stopped at step 4200. Continue?", T("It stopped: {{.Problem}}", "Problem", x).String())
	got, ok := errors.AsType[Text](error(x))
	require.True(t, ok)
	require.Equal(t, x.Template, got.Template)
}

func TestBecauseKeepsSentenceAndCause(t *testing.T) {
	err := T("{{.Path}} cannot be written", "Path", "/x").Because(fmt.Errorf("open /x: %w", fs.ErrPermission))
	wrapped := fmt.Errorf("step 3: %w", err)
	require.EqualError(t, wrapped, "step 3: /x cannot be written")
	require.ErrorIs(t, wrapped, fs.ErrPermission)
	text, ok := errors.AsType[Text](wrapped)
	require.True(t, ok)
	require.Equal(t, "/x", text.Data["Path"])
}
