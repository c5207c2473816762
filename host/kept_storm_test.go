package host

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// storm is many callers who do anything with any of the ids that they know.
type storm struct {
	w     *world
	ctx   context.Context
	mu    sync.Mutex
	known []string
}

func (s *storm) some(r *rand.Rand) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) == 0 {
		return "none yet"
	}
	return s.known[r.IntN(len(s.known))]
}

var scripts = []string{"true", "exit 3", "echo out; echo err >&2; " + stays, "trap '' TERM; " + stays, "cat", "yes | head -c 300000; " + stays}

func (s *storm) spawn(r *rand.Rand) error {
	q := s.w.script(scripts[r.IntN(len(scripts))])
	q.KeepStdinOpen, q.LogRingBytes = ptr(r.IntN(2) == 0), ptr(uint32(4<<10))
	q.ExitRetentionMS, q.IdleTimeoutMS = ptr(uint64(r.IntN(2000))), ptr(uint64(1+r.IntN(3000)))
	id, err := s.w.host.SpawnPersistent(s.ctx, alice, q)
	if err == nil {
		s.mu.Lock()
		s.known = append(s.known, id)
		s.mu.Unlock()
	}
	return err
}

// attached does something by a handle.
func (s *storm) attached(r *rand.Rand, id string) error {
	p, err := s.w.host.Attach(s.ctx, alice, id)
	if err != nil {
		return err
	}
	switch r.IntN(3) {
	case 0:
		_, err = p.Kill(s.ctx, alice)
	case 1:
		_, err = p.WaitWithOutput(s.ctx, alice, ptr(time.Duration(r.IntN(50))*time.Millisecond))
	default:
		_, err = p.ReadLogs(s.ctx, alice)
	}
	if failed := p.Drop(s.ctx, alice); failed != nil {
		return failed
	}
	return err
}

// step does one thing.
func (s *storm) step(r *rand.Rand) error {
	h, ctx, id := s.w.host, s.ctx, s.some(r)
	short := time.Duration(r.IntN(50)) * time.Millisecond
	switch r.IntN(14) {
	case 0, 1:
		return s.spawn(r)
	case 2:
		return second(h.StopProcess(ctx, alice, id, &short))
	case 3:
		return h.ReleaseProcess(ctx, alice, id)
	case 4:
		return second(h.WaitProcess(ctx, alice, id, short))
	case 5:
		return second(h.ReadProcessLogs(ctx, alice, id))
	case 6:
		return second(h.ReadSince(ctx, alice, id, Stream(r.IntN(2)), nil, uint32(r.IntN(5000))))
	case 7:
		return h.SignalProcess(ctx, alice, id, Signal(r.IntN(7)))
	case 8:
		return h.WatchProcess(ctx, alice, id, nil)
	case 9:
		return h.UnwatchProcess(ctx, alice, id)
	case 10:
		ctx, cancel := context.WithTimeout(ctx, short)
		defer cancel()
		return second(h.WriteProcessStdin(ctx, alice, id, make([]byte, r.IntN(100_000))))
	case 11:
		return h.CloseProcessStdin(ctx, alice, id)
	case 12:
		return second(h.ListProcesses(ctx, alice, nil))
	default:
		return s.attached(r, id)
	}
}

// TestStorm has eight callers do anything to a few processes, with daemons that
// die in between. Whatever comes of it, only errors of the contract are told, and
// the world ends as the ledger says.
func TestStorm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hers := w.hears("alice")
	defer func() { t.Logf("%d events were published", len(hers.s.Poll().Messages)) }()
	s := &storm{w: w}
	allowed := []Code{NoSuchProcess, Closed, WaitTimeout, Cancelled, Quota, RegistryFull, InvalidInput}
	for life := range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		s.ctx = ctx
		var all sync.WaitGroup
		for n := range 8 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(life), uint64(n)))
				for ctx.Err() == nil {
					if err := s.step(r); err != nil && !slices.Contains(allowed, CodeOf(err)) {
						t.Errorf("life %d: %v", life, err)
					}
				}
			})
		}
		all.Wait()
		cancel()
		w.abandon()
		w.open()
	}
}
