package durable

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestPathThatIsNotUTF8IsKept(t *testing.T) {
	for _, c := range []struct{ path, plain string }{
		{"/home/a/cats", "/home/a/cats"},
		{"/home/ä/数据", "/home/ä/数据"},
		{"caf\xe9.png", "caf\ufffde9.png"},
		{"\xca\xfd\xbe\xdd/\xff", "\ufffdca\ufffdfd\ufffdbe\ufffddd/\ufffdff"},
		{`C:\xab\x41`, `C:\xab\x41`},
		{"lost \ufffd here", "lost \ufffd here"},                         // a real replacement character
		{"\ufffde9", "\ufffdef\ufffdbf\ufffdbde9"},                       // that looks like an escaped byte
		{"\ufffd41", "\ufffd41"},                                         // below 0x80 none is escaped
		{"cut \xe6\x95", "cut \ufffde6\ufffd95"},                         // a character without its end
		{"surrogate \xed\xa0\x80", "surrogate \ufffded\ufffda0\ufffd80"}, // CESU-8
	} {
		require.Equal(t, c.plain, Plain(c.path), "%q", c.path)
		require.Equal(t, c.path, Exact(c.plain), "%q", c.plain)
		b, err := json.Marshal(map[string]Path{"p": Path(c.path)})
		require.NoError(t, err)
		var back map[string]Path
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, Path(c.path), back["p"])
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"a/b", "caf\xe9", "\ufffde9", "\ufffd\xe9", "\xef\xbf", "\ufffdef\ufffdbf\ufffdbd41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := Plain(s)
		require.True(t, utf8.ValidString(p))
		require.Equal(t, s, Exact(p))
		if utf8.ValidString(s) && s == Exact(s) {
			require.Equal(t, s, p, "what is UTF-8 stays as it is")
		}
	})
}
