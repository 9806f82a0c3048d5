package events

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOrderAndFreedomOfSubscribers(t *testing.T) {
	var b Bus
	defer b.Close()
	var mu sync.Mutex
	var got []string
	done := make(chan struct{})
	var once sync.Once
	unsubscribe := b.Subscribe(func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case RunsChanged:
			got = append(got, e.Run)
			if e.Run == "1" {
				b.Publish(RunsChanged{Run: "from within"}) // must not deadlock
			}
		case UndoChanged:
			once.Do(func() { close(done) })
		}
	})
	for _, r := range []string{"1", "2", "3"} {
		b.Publish(RunsChanged{Run: r})
	}
	// The one published from within comes before this: publish it only when the first was seen.
	for {
		mu.Lock()
		n := len(got)
		mu.Unlock()
		if n == 4 {
			break
		}
	}
	b.Publish(UndoChanged{})
	<-done
	require.ElementsMatch(t, []string{"1", "2", "3", "from within"}, got)
	require.Equal(t, "1", got[0])
	unsubscribe()
	unsubscribe()
	b.Publish(RunsChanged{Run: "5"})
	wait := make(chan struct{})
	b.Subscribe(func(e Event) {
		if e == (QueueChanged{}) {
			close(wait)
		}
	})
	b.Publish(QueueChanged{})
	<-wait
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, got, 4)
}

func TestRepetitionsAreDropped(t *testing.T) {
	var b Bus
	hold, begun := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	counts := map[Event]int{}
	notices := 0
	b.Subscribe(func(e Event) {
		if e == (QueueChanged{}) {
			close(begun)
			<-hold
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if _, ok := e.(Notice); ok {
			notices++
			return
		}
		counts[e]++
	})
	b.Publish(QueueChanged{})
	<-begun // everything from here on waits
	for range 1000 {
		b.Publish(LogGrew{Run: "a"})
		b.Publish(LogGrew{Run: "b"})
	}
	b.Publish(Notice{Text: T("x"), Mends: []Mend{{}}})
	b.Publish(Notice{Text: T("x"), Mends: []Mend{{}}})
	end := make(chan struct{})
	b.Subscribe(func(e Event) {
		if e == (UndoChanged{}) {
			close(end)
		}
	})
	b.Publish(UndoChanged{})
	close(hold)
	<-end
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 1, counts[LogGrew{Run: "a"}])
	require.Equal(t, 1, counts[LogGrew{Run: "b"}])
	require.Equal(t, 2, notices, "a notice is never dropped")
}

func TestNoticesWaitForTheFirstSubscriber(t *testing.T) {
	var b Bus
	defer b.Close()
	b.Publish(RunsChanged{Run: "before"}) // only a notice is worth keeping
	for i := range maxUnheard + 20 {
		b.Publish(Notice{Text: T("found {{.N}}", "N", i)})
	}
	got := make(chan Event, maxUnheard+30)
	b.Subscribe(func(e Event) { got <- e })
	b.Publish(UndoChanged{})
	for i := range maxUnheard {
		n, ok := (<-got).(Notice)
		require.True(t, ok)
		require.Equal(t, T("found {{.N}}", "N", i).String(), n.Text.String())
	}
	require.Equal(t, UndoChanged{}, <-got)
	late := make(chan Event, 1)
	b.Subscribe(func(e Event) { late <- e })
	b.Publish(RunsChanged{Run: "after"})
	require.Equal(t, RunsChanged{Run: "after"}, <-late, "a second subscriber is not told again")
}

func TestUnheardNoticesAreTakenOnce(t *testing.T) {
	var b Bus
	defer b.Close()
	require.Empty(t, b.Unheard())
	b.Publish(Notice{Text: T("one")})
	b.Publish(Notice{Text: T("two")})
	got := b.Unheard()
	require.Len(t, got, 2)
	require.Equal(t, "one", got[0].Text.String())
	require.Equal(t, "two", got[1].Text.String())
	require.Empty(t, b.Unheard())
	heard := make(chan Event, 1)
	b.Subscribe(func(e Event) { heard <- e })
	b.Publish(Notice{Text: T("three")})
	require.Equal(t, "three", (<-heard).(Notice).Text.String(), "and not those that were taken")
	require.Empty(t, b.Unheard())
}
