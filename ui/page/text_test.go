package page_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/events"
	"unnoise/app/studio"
	"unnoise/ui/i18n"
	"unnoise/ui/page"
)

// Sentences that come from rooms below the window are shown in its language, with those within them.
func TestSentencesOfLowerRoomsAreTranslated(t *testing.T) {
	require.NoError(t, i18n.Apply("zh"))
	t.Cleanup(func() { require.NoError(t, i18n.Apply("")) })
	t.Setenv("UNNOISE_CONFIG", filepath.Join(t.TempDir(), "settings.json"))
	ctx := t.Context()
	dir := t.TempDir()
	s, err := studio.Open(ctx, filepath.Join(dir, "ws"))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close(context.WithoutCancel(ctx))) }()

	_, locked := studio.Open(ctx, filepath.Join(dir, "ws"))
	_, missing := s.Datasets.Import(ctx, filepath.Join(dir, "none"), "x", nil)
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.Mkdir(empty, 0o777))
	_, nothing := s.Datasets.Import(ctx, empty, "x", nil)
	_, name := s.Datasets.Import(ctx, empty, "a\x00b", nil)
	_, unknown := s.Runs.Get(ctx, "0007-none")
	for want, err := range map[string]error{
		"工作区 " + filepath.Join(dir, "ws") + " 已在别处打开": locked,
		filepath.Join(dir, "none") + " 不存在":           missing,
		empty + " 中没有可用的图片":                           nothing,
		"名称中含有控制字符 U+0000":                            name,
		"工作区中没有训练“0007-none”":                         unknown,
	} {
		require.Error(t, err, want)
		require.Contains(t, page.Sentence(err), want)
	}
	within := events.T("The training stopped: {{.Problem}}", "Problem", errors.Join(unknown))
	require.Contains(t, page.Text(within), "工作区中没有训练“0007-none”")
	require.Contains(t, within.String(), "there is no run “0007-none” in the workspace", "in English as ever")
}
