package daemon

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/projector"
)

// livesOn tells whether a directory's process is not proven dead.
func livesOn(f *act.Found) bool {
	return f.ID != (ulid.ULID{}) && !f.Dead && f.Exit == nil && f.Failed == nil
}

// ps lists what the process directories say.
func (m *damage) ps(all bool) (*control.Ps, error) {
	list, err := m.hands.Scan()
	if err != nil {
		return nil, err
	}
	ps := &control.Ps{Source: control.FromDirectories, Handles: []control.Handle{}}
	for i := range list {
		if f := &list[i]; f.ID != (ulid.ULID{}) && (all || livesOn(f)) {
			ps.Handles = append(ps.Handles, rowOfFound(f))
		}
	}
	slices.SortFunc(ps.Handles, func(a, b control.Handle) int { return strings.Compare(a.ID, b.ID) })
	return ps, nil
}

// rowOfFound is what is known of a process without the ledger. Who runs it and
// why stands there alone.
func rowOfFound(f *act.Found) control.Handle {
	h := control.Handle{ID: f.ID.String(), Phase: phaseOf(f).String(), Isolation: f.Isolation}
	if s := f.Started; s != nil {
		started := time.Unix(0, s.StartedWall).UTC()
		h.PID, h.Command, h.Started = s.Program.PID, s.Executable.Path, &started
	}
	if x := f.Exit; x != nil {
		ended := time.Unix(0, x.Exited.EndedWall).UTC()
		h.Exit, h.Cause, h.Ended, h.Unrecorded = &control.Exit{Code: x.Exited.Exit.Code, Signal: x.Exited.Exit.Signal}, x.Exited.Cause, &ended, true
	}
	return h
}

// phaseOf is how far a process has come, by its directory.
func phaseOf(f *act.Found) projector.Phase {
	switch {
	case f.Exit != nil:
		return projector.PhaseExited
	case f.Failed != nil:
		return projector.PhaseFailed
	case f.Dead && (f.Go || f.Started != nil):
		return projector.PhaseLost
	case f.Dead:
		return projector.PhaseAborted
	case f.Started != nil:
		return projector.PhaseStarted
	default:
		return projector.PhaseDecided
	}
}

// output opens what a process wrote until now. It cannot be followed: whoever
// tells of more is a shim that somebody holds.
func (m *damage) output(id ulid.ULID, follow bool) (output, error) {
	if follow {
		return nil, control.Errorf(control.CodeUnavailable, "output cannot be followed while the ledger is damaged").WithHint("leave --follow out to see what was written until now")
	}
	f, err := m.hands.Look(id) // before the output: what has ended then has all of it
	if err != nil {
		return nil, control.Errorf(control.CodeNotFound, "process %s: %v", id, err)
	}
	tail, err := m.hands.TailOf(id)
	if err != nil {
		return nil, control.Errorf(control.CodeNotFound, "process %s left no output: %v", id, err)
	}
	return &foundOutput{tail: tail, over: !livesOn(&f)}, nil
}

// foundOutput is the output of a process that nobody holds.
type foundOutput struct {
	tail *act.Tail
	over bool // it has ended: what there is is all
}

// Read is that of host.Output.
func (o *foundOutput) Read(s host.Stream, pos uint64, most int) (host.Piece, error) {
	data, from, eof, err := o.tail.ReadSince(act.Stream(s), pos, most)
	return host.Piece{Data: data, From: from, EOF: eof && o.over}, err
}

// More is that of host.Output: nothing more comes.
func (o *foundOutput) More(stdout, stderr uint64) poll.Source {
	return o.tail.More([2]uint64{stdout, stderr})
}

// Close is that of host.Output.
func (o *foundOutput) Close() { o.tail.Close() }

// Ps implements serve.Backend.
func (d *Daemon) Ps(_ context.Context, all bool) (*control.Ps, error) {
	if m := d.damage.Load(); m != nil {
		return m.ps(all)
	}
	return nil, nil
}
