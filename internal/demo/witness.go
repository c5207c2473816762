package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// conclude stops the daemon, looks that nothing is left, compares the ledger
// with the witness and says the last line.
func (s *site) conclude(ctx context.Context) error {
	if err := s.stop(30 * time.Second); err != nil {
		return err
	}
	if left := processesIn(s.dir); len(left) > 0 {
		return fmt.Errorf("processes %v are left over", left)
	}
	a, err := s.account(ctx)
	if err != nil {
		return err
	}
	lost := a.losses(s)
	fmt.Fprintln(s.say.out)
	s.say.say("%s wrote a witness of their own. It was compared with the ledger: what started and ended is in it, with the true exit, and nothing else is.", ui.Count(len(s.programs), "program"))
	for _, l := range lost {
		s.say.say("lost: %s", l)
	}
	if len(lost) > 0 {
		return fmt.Errorf("%s of %d events and %d processes lost", ui.Count(len(lost), "thing"), a.events, a.started)
	}
	_, err = fmt.Fprintf(s.say.out, "demo: ok: %d events, %d processes, 0 lost\n", a.events, a.started)
	return err
}

// account is what the ledger says of all processes, read from its files after
// the daemon stopped.
type account struct {
	events  int
	started int
	lost    []string              // process.lost: known, and the end unknown
	open    map[string]bool       // granted, and not ended
	exits   map[string]event.Exit // by nonce
	starts  map[string]bool       // by nonce
	nonces  map[string]string     // by handle
}

func (s *site) account(ctx context.Context) (_ *account, err error) {
	archive, err := ledger.OpenArchive(filepath.Join(s.data, "ledger"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	a := newAccount()
	for e, err := range archive.Events(ctx, 1, 0) {
		if err != nil {
			return nil, err
		}
		a.take(e, s.programs)
	}
	return a, nil
}

func newAccount() *account {
	return &account{open: map[string]bool{}, exits: map[string]event.Exit{}, starts: map[string]bool{}, nonces: map[string]string{}}
}

func (a *account) take(e *event.Event, programs []*program) {
	a.events++
	id := e.Handle.String()
	switch b := e.Body.(type) {
	case *event.SpawnRequested:
		for _, p := range programs {
			if slices.Contains(b.Args, p.nonce) {
				a.nonces[id] = p.nonce
			}
		}
	case *event.SpawnDecided:
		a.open[id] = b.Outcome == event.OutcomeGranted
	case *event.ProcessStarted:
		a.started++
		a.starts[a.nonces[id]] = true
	case *event.ProcessExited:
		a.open[id] = false
		a.exits[a.nonces[id]] = b.Exit
	case *event.SpawnAborted, *event.SpawnFailed:
		a.open[id] = false
	case *event.ProcessLost:
		a.open[id] = false
		a.lost = append(a.lost, fmt.Sprintf("process %s: the ledger does not know how it ended (%s)", id, b.Reason))
	}
}

// losses is everything in which witness and ledger differ, and whatever the
// ledger itself calls lost or has left open.
func (a *account) losses(s *site) []string {
	lost := a.lost
	for id, open := range a.open {
		if open {
			lost = append(lost, fmt.Sprintf("process %s: the ledger does not know that it ended", id))
		}
	}
	for _, p := range s.programs {
		started, ended := s.saw(p)
		exit, recorded := a.exits[p.nonce]
		switch {
		case started != a.starts[p.nonce]:
			lost = append(lost, fmt.Sprintf("%s: the witness says started: %v, the ledger: %v", p.nonce, started, a.starts[p.nonce]))
		case ended && !recorded:
			lost = append(lost, fmt.Sprintf("%s: it ended, and the ledger has no exit", p.nonce))
		case ended && !p.endedBy(exit):
			lost = append(lost, fmt.Sprintf("%s: the ledger has another exit than it took", p.nonce))
		}
	}
	return lost
}

// endedBy tells whether x is how the program ends.
func (p *program) endedBy(x event.Exit) bool {
	if p.signal != 0 {
		return x.Signal != nil && *x.Signal == p.signal
	}
	return x.Code != nil && *x.Code == p.code
}
