package demo

import (
	"context"
	"sync"
)

// calls are commands that run in the background, as a shell's "&" does.
type calls struct {
	running sync.WaitGroup
	mu      sync.Mutex // held to add an output
	outputs [][]byte
}

// background runs astridctl without waiting for it.
func (s *site) background(ctx context.Context, args []string) {
	s.calls.running.Go(func() {
		out, _, err := s.astridctl(ctx, args...)
		if err != nil {
			out = []byte(err.Error())
		}
		s.calls.mu.Lock()
		defer s.calls.mu.Unlock()
		s.calls.outputs = append(s.calls.outputs, out)
	})
}

// wait waits until all of them have ended and shows what they said: their
// daemon is gone, so it is not long.
func (s *site) wait() {
	s.calls.running.Wait()
	for _, out := range s.calls.outputs {
		s.say.output(out)
	}
	s.calls.outputs = nil
}
