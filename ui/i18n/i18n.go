// Package i18n puts the window into the user's language, through Fyne's lang package.
package i18n

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/lang"

	"unnoise/resources/translations"
)

// Language is one the window can speak.
type Language struct {
	Code string // as the settings keep it
	Name string // in the language itself
	file string
	env  string
}

// Languages are the languages there are.
var Languages = []Language{
	{Code: "en", Name: "English", file: "en.json", env: "en_US"},
	{Code: "zh", Name: "简体中文", file: "zh-Hans.json", env: "zh_CN"},
}

var (
	saveOnce sync.Once
	saved    map[string]string // the environment before the first Apply
)

// The variables that Fyne's locale library reads on Unix.
var variables = []string{"LC_ALL", "LANGUAGE"}

// Apply makes lang.L answer in a language; an empty code is the system's. Texts that are on show already stay as they
// are. It must not run together with lang.L on another goroutine.
func Apply(code string) error {
	saveOnce.Do(func() {
		saved = make(map[string]string)
		for _, v := range variables {
			if s, ok := os.LookupEnv(v); ok {
				saved[v] = s
			}
		}
	})
	for _, v := range variables {
		if s, ok := saved[v]; ok {
			_ = os.Setenv(v, s)
		} else {
			_ = os.Unsetenv(v)
		}
	}
	if strings.HasPrefix(os.Getenv("LANG"), "C.") && os.Getenv("LC_ALL") == "" || strings.HasPrefix(os.Getenv("LC_ALL"), "C.") {
		_ = os.Setenv("LANGUAGE", "en") // the locale "C.UTF-8" is not a language, and Fyne would complain of it at each text
	}
	for _, l := range Languages {
		b, err := translations.FS.ReadFile(l.file)
		if err != nil {
			return fmt.Errorf("the translation %s cannot be read: %w", l.file, err)
		}
		if err := lang.AddTranslations(fyne.NewStaticResource(l.file, b)); err != nil {
			return fmt.Errorf("the translation %s cannot be used: %w", l.file, err)
		}
	}
	if code == "" {
		return nil
	}
	for _, l := range Languages {
		if l.Code != code {
			continue
		}
		b, err := translations.FS.ReadFile(l.file)
		if err != nil {
			return fmt.Errorf("the translation %s cannot be read: %w", l.file, err)
		}
		switch runtime.GOOS {
		case "windows", "darwin":
			// Fyne always asks the system there, so the texts are filed under the system's own language.
			return lang.AddTranslationsForLocale(b, lang.SystemLocale())
		default:
			for _, v := range variables {
				if err := os.Setenv(v, l.env+map[string]string{"LC_ALL": ".UTF-8"}[v]); err != nil {
					return err
				}
			}
			return lang.AddTranslations(fyne.NewStaticResource(l.file, b)) // makes Fyne look at the environment again
		}
	}
	return fmt.Errorf("there is no translation for the language %q; choose one of %s", code, codes())
}

// keys are the texts that have translations; each file has the same.
var keys = sync.OnceValue(func() map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if b, err := translations.FS.ReadFile(Languages[0].file); err == nil {
		_ = json.Unmarshal(b, &m) // Apply has told of a broken file
	}
	return m
})

// Has says whether there are translations of a text.
func Has(key string) bool {
	_, ok := keys()[key]
	return ok
}

func codes() string {
	var out []string
	for _, l := range Languages {
		out = append(out, l.Code)
	}
	return strings.Join(out, ", ")
}
