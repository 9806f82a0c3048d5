//go:build !uitest

package ui

func (r *runner) startDump() {}
