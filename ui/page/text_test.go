package page_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/events"
	"unnoise/app/studio"
	"unnoise/runtime/sentence"
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
	_, model := s.Models.Import(ctx, empty, "x", nil)
	broken := filepath.Join(dir, "broken")
	require.NoError(t, os.Mkdir(broken, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(broken, "config.json"), []byte(`{"_class_name":"UNet2DModel","act_fn":"mish"}`), 0o600))
	_, act := s.Models.Import(ctx, broken, "x", nil)
	for want, err := range map[string]error{
		"工作区 " + filepath.Join(dir, "ws") + " 已在别处打开": locked,
		filepath.Join(dir, "none") + " 不存在":           missing,
		empty + " 中没有可用的图片":                           nothing,
		"名称中含有控制字符 U+0000":                            name,
		"工作区中没有训练“0007-none”":                         unknown,
		"其中既没有 unet/config.json 也没有 config.json：":     model,
		`其 config.json：模型配置：`:                         act,
	} {
		require.Error(t, err, want)
		require.Contains(t, page.Sentence(err), want)
	}
	within := events.T("The training stopped: {{.Problem}}", "Problem", errors.Join(unknown))
	require.Contains(t, page.Text(within), "工作区中没有训练“0007-none”")
	for _, err := range []error{unknown, act, errors.Join(fmt.Errorf("%w", model), nil)} {
		b, merr := json.Marshal(studio.Run{Error: sentence.Of(err)}) // as a run's files and the index keep it
		require.NoError(t, merr)
		var back studio.Run
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, page.Sentence(err), page.Sentence(back.Error))
	}
	require.Equal(t, "无法打开 /x {{.A}}：没有权限。", page.Sentence(&fs.PathError{Op: "open", Path: "/x {{.A}}", Err: syscall.EACCES}))
	require.Equal(t, "{{range .A}}。", page.Sentence(errors.New("{{range .A}}")), "what comes from elsewhere is no template")
	require.Equal(t, "{{range .A}}", page.Text(events.T("{{range .A}}", "A", 1)))
	require.Contains(t, within.String(), "there is no run “0007-none” in the workspace", "in English as ever")
	long := page.Text(studio.Text{Template: strings.Repeat("长", 1_000_000)})
	require.Equal(t, strings.Repeat("长", 2000)+"…", long, "more than a label can lay out")
	nested := page.Sentence(events.T("{{.A}}{{.A}}", "A", errors.New(strings.Repeat("x", 1_000_000))))
	require.Len(t, []rune(nested), 2001)
}

func TestCounts(t *testing.T) {
	t.Cleanup(func() { require.NoError(t, i18n.Apply("")) })
	for code, want := range map[string][]string{"en": {"9,999", "45 k", "100 k", "1.1 M", "35.7 M"}, "zh": {"9,999", "4.5万", "10万", "110万", "3570万"}} {
		require.NoError(t, i18n.Apply(code))
		for i, n := range []int64{9_999, 45_000, 100_000, 1_100_000, 35_700_000} {
			require.Equal(t, want[i], page.Count(n), code)
		}
	}
}
