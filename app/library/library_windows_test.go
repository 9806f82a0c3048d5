package library

import "testing"

func mkfifo(t *testing.T, _ string) { t.Skip("folders hold no pipes here") }
