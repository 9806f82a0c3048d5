package studio

import "unnoise/app/events"

// core is what the services share.
type core struct {
	bus events.Bus
}

// Subscribe calls fn for each signal from now on, one at a time and in order, on a
// goroutine of the studio with no lock held. Call the function returned to end it.
func (s *Studio) Subscribe(fn func(Event)) (unsubscribe func()) { return s.core.bus.Subscribe(fn) }
