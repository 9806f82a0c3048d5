//go:build !(uitest && linux)

package ui

func (r *runner) startDump() {}
