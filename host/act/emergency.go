//go:build linux

package act

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// ErrNoLedger: there is no ledger that could be asked for anything, as when it
// is damaged. Nothing can be authorized then; what runs can be ended.
var ErrNoLedger = errors.New("the ledger is not there")

// ErrNoEmergency: what was asked of Emergency is not what it is for.
var ErrNoEmergency = errors.New("no emergency: only INT, TERM and KILL, and only while the ledger cannot commit")

// Intent is an ending that was carried out before the ledger could record it.
type Intent struct {
	// Scope is that of the signal.requested to come; its Handle is the
	// child's.
	Scope event.Scope

	// Request is the event to come: Late and SentWall are set.
	Request event.SignalRequested

	// Result is what became of it, for the signal.sent that follows.
	Result SignalResult

	// Earlier is true for one of an earlier daemon, which may have recorded it
	// and died before it could forget it.
	Earlier bool

	file string // in late/; empty: it is kept in memory only
}

// Emergency is the one exception to the rule: while the ledger cannot commit,
// nothing starts, but what runs can still be ended. It sends the signal now and
// keeps the intent until Recorded.
//
// why is the error with which the commit of the request failed; anything but a
// ledger that cannot commit is refused, and so is any signal but INT, TERM and
// KILL.
func (h *Hands) Emergency(c *Child, why error, scope event.Scope, q event.SignalRequested) (SignalResult, error) {
	if !cannotCommit(why) || !ends(q.Signal) {
		return SignalResult{}, ErrNoEmergency
	}
	return h.emergency(c.id, scope, q, func() (SignalResult, error) { return c.sendSignal(q.Signal, q.Target, q.Cause) })
}

// EmergencyKill is Emergency for a shim that cannot be connected to: KILL of the
// whole tree, by identity, as Kill does it. It blocks until the shim is proven
// dead, for some seconds at most (ErrAlive).
func (h *Hands) EmergencyKill(f Found, why error, scope event.Scope, cause string) (SignalResult, error) {
	if !cannotCommit(why) {
		return SignalResult{}, ErrNoEmergency
	}
	q := event.SignalRequested{Signal: uint32(syscall.SIGKILL), Target: event.TargetTree, Cause: cause}
	return h.emergency(f.ID, scope, q, func() (SignalResult, error) {
		if err := h.kill(f, cause); err != nil {
			return SignalResult{Detail: err.Error()}, err
		}
		return SignalResult{Delivered: true}, nil
	})
}

// emergency keeps the intent, on disk too where that was asked for, and carries
// it out. A disk that does not take it holds nothing up.
func (h *Hands) emergency(id ulid.ULID, scope event.Scope, q event.SignalRequested, send func() (SignalResult, error)) (SignalResult, error) {
	scope.Handle = id
	q.Late, q.SentWall = true, time.Now().UnixNano()
	i := Intent{Scope: scope, Request: q, Result: SignalResult{Detail: unknownDelivery}}
	h.store(&i, false)
	result, err := send()
	i.Result = result
	h.store(&i, true)
	h.mu.Lock()
	h.late = append(h.late, i)
	h.mu.Unlock()
	if err != nil {
		return result, fmt.Errorf("emergency: %w", err)
	}
	return result, nil
}

// store is keep where the options ask for it.
func (h *Hands) store(i *Intent, done bool) {
	if !h.o.KeepLate {
		return
	}
	if err := h.keep(i, done); err != nil {
		h.log.Error("an ending cannot be kept on disk; it is known until this daemon ends", "handle", i.Scope.Handle, "error", err)
	}
	if !done {
		// A crash here leaves an intent on disk whose signal was not sent: it
		// is recorded as one of which that is not known.
		crashpoint.Here("daemon.late.kept")
	}
}

func cannotCommit(err error) bool {
	return ledger.CannotCommit(err) || errors.Is(err, ErrNoLedger) || errors.Is(err, ledger.ErrClosed)
}

func ends(sig uint32) bool {
	switch syscall.Signal(sig) {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL:
		return true
	}
	return false
}

// Late returns the intents that are not recorded yet, oldest first. They are to
// go into the first commit that succeeds.
func (h *Hands) Late() []Intent {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Intent(nil), h.late...)
}

// Recorded forgets the first n intents, once they are durable.
func (h *Hands) Recorded(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.late[:min(n, len(h.late))] {
		h.forgetLate(&h.late[i])
	}
	h.late = append([]Intent(nil), h.late[min(n, len(h.late)):]...)
}
