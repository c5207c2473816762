//go:build linux

package worldcheck

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/verify"
	"github.com/astrid-os/processledger/projector"
)

// verify has every page, hash and step of the ledger's files checked.
func (w World) verify(ctx context.Context) (problems sentences) {
	if !w.Verify {
		return nil
	}
	report, err := verify.Dir(ctx, filepath.Join(w.Data, "ledger"), verify.Options{
		NewState: func() verify.State { return &replayed{projector.New()} }, Newest: w.Newest,
	})
	if err != nil {
		problems.say("verify: %v", err)
		return problems
	}
	for _, f := range report.Faults {
		problems.say("verify: %+v", f)
	}
	return problems
}

// replayed is the projection that verify replays.
type replayed struct{ s *projector.State }

// Restore implements verify.State.
func (r *replayed) Restore(opening []byte) error {
	if opening == nil {
		r.s = projector.New()
		return nil
	}
	s, err := projector.Decode(opening)
	if err == nil {
		r.s = s
	}
	return err
}

// Apply implements verify.State.
func (r *replayed) Apply(e *event.Event) error { return r.s.Apply(e) }

// Encode implements verify.State.
func (r *replayed) Encode() []byte { return r.s.Encode() }

// projections compares what is in use with the replay.
func (w World) projections(ctx context.Context, last *projector.State) (problems sentences) {
	if w.State != nil {
		at := w.replay(ctx, last, w.State.Seq(), &problems)
		if at != nil && !bytes.Equal(at.Encode(), w.State.Encode()) {
			problems.say("the state in use at event %d is not what a replay of the ledger gives", w.State.Seq())
		}
	}
	if w.Table == nil {
		return problems
	}
	if at := w.replay(ctx, last, w.Table.Seq, &problems); at != nil {
		w.table(at, &problems)
	}
	return problems
}

// replay returns the state at seq, nil if there is none.
func (w World) replay(ctx context.Context, last *projector.State, seq uint64, problems *sentences) *projector.State {
	if seq == last.Seq() {
		return last
	}
	at, err := projector.At(ctx, w.Ledger, seq)
	if err != nil {
		problems.say("replay: %v", err)
	}
	return at
}

// table compares what the daemon answers with the replay, handle by handle and
// counter by counter.
func (w World) table(at *projector.State, problems *sentences) {
	want := map[string]control.Handle{}
	for _, h := range control.TableOf(at, true).Handles {
		want[h.ID] = h
	}
	for _, h := range w.Table.Handles {
		if h.Unrecorded {
			problems.say("%s has ended, and its end is not recorded", h.ID)
		}
		h.IdleNano, h.Unrecorded = nil, false // no projection holds them
		if r, ok := want[h.ID]; !ok {
			problems.say("the daemon lists %s as %s, and a replay does not know it", h.ID, h.Phase)
		} else if a, b := text(h), text(r); a != b {
			problems.say("the daemon lists %s as %s, and a replay gives %s", h.ID, a, b)
		}
		delete(want, h.ID)
	}
	for id, h := range want {
		problems.say("a replay gives %s as %s, and the daemon does not list it", id, h.Phase)
	}
	if w.Status == nil || w.Status.Ledger.Last != w.Table.Seq {
		return // the ledger has gone on between the two answers
	}
	same(problems, w.Status.Live, int(at.LiveAll().Total()), "live processes, by the daemon and by a replay")
	got := map[string]control.Usage{}
	for _, u := range w.Status.Usage {
		u.Cap, u.SyncCap = 0, 0 // of the policy
		got[u.Scope] = u
	}
	for _, u := range control.UsageOf(at) {
		same(problems, got[u.Scope], u, "the counters of %s, by the daemon and by a replay", u.Scope)
	}
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
