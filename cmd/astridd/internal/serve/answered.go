package serve

import (
	"context"
	"net"
	"net/http"
	"time"
)

// silentBound is how long a connection that has asked for nothing yet is waited for
// at the end: whoever connects asks at once, if its machine is not very busy.
const silentBound = 2 * time.Second

// track notes which connections wait for an answer.
func (s *Server) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew || state == http.StateActive {
		s.owed[c] = state
	} else {
		delete(s.owed, c)
	}
}

// answerAll waits until every connection that was accepted has had its answer.
// Without it, http.Server's Shutdown would read a request that comes by then and
// close the connection without a word, and its client could not know whether
// anything was done.
func (s *Server) answerAll(ctx context.Context) {
	s.http.SetKeepAlivesEnabled(false) // ends idle ones, and the others with their answer
	silent := time.After(silentBound)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for bound := false; s.owes(bound); {
		select {
		case <-tick.C:
		case <-silent:
			bound = true
		case <-ctx.Done():
			return
		}
	}
}

// owes tells whether somebody waits for an answer; asked leaves out who has asked
// for nothing.
func (s *Server) owes(asked bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, state := range s.owed {
		if !asked || state == http.StateActive {
			return true
		}
	}
	return false
}
