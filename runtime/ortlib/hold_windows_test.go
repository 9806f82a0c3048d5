package ortlib

import "testing"

func privateCopy(*testing.T) {}
