//go:build linux

package act

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

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
	scope.Handle = c.id
	q.Late, q.SentWall = true, time.Now().UnixNano()
	result, err := c.sendSignal(q.Signal, q.Target, q.Cause)
	h.mu.Lock()
	h.late = append(h.late, Intent{Scope: scope, Request: q, Result: result})
	h.mu.Unlock()
	if err != nil {
		return result, fmt.Errorf("emergency: %w", err)
	}
	return result, nil
}

func cannotCommit(err error) bool {
	return ledger.CannotCommit(err) || errors.Is(err, ledger.ErrClosed)
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
	h.late = append([]Intent(nil), h.late[min(n, len(h.late)):]...)
}
