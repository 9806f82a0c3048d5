package page

import (
	"context"
	"encoding/json"
	"maps"
)

// Remember keeps what a part of the window was left with, under the part's name. It is there for Recall at once, and after a
// restart: the shell has it saved soon.
func (s *Services) Remember(part string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.Fail(err)
		return
	}
	if s.remembered == nil {
		s.remembered = map[string]json.RawMessage{}
	}
	s.remembered[part] = b
}

// Recall fills into with what was last remembered of a part; what was not remembered stays. It says false when there is
// nothing that fits.
func (s *Services) Recall(part string, into any) bool {
	if b, ok := s.remembered[part]; ok {
		return json.Unmarshal(b, into) == nil
	}
	return s.Studio.Settings.Recall(part, into)
}

// saveRemembered saves what was remembered since the last call, off the UI thread and one after the other.
func (s *Services) saveRemembered() {
	if len(s.remembered) == 0 || s.saving {
		return
	}
	parts := maps.Clone(s.remembered)
	s.saving = true
	s.Do(func(context.Context) error { return s.save(parts) }, func(err error) {
		s.saving = false
		for part, b := range parts {
			if string(s.remembered[part]) == string(b) { // and was not changed meanwhile
				delete(s.remembered, part)
			}
		}
		s.Fail(err)
	})
}

func (s *Services) save(parts map[string]json.RawMessage) error {
	for part, b := range parts {
		if err := s.Studio.Settings.Remember(part, b); err != nil {
			return err
		}
	}
	return nil
}
