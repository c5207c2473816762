package projector

import (
	"slices"

	"github.com/astrid-os/processledger/ledger/event"
)

// daemonStarted opens a run. The run before needs no end: it may have crashed.
// Capsules are served by one run only, so none is loaded now; handles, cancels
// and invocations stay for recovery to settle.
func (s *State) daemonStarted(e *event.Event, b *event.DaemonStarted) error {
	s.run = &Run{Started: at(e), Version: b.Version, PID: b.PID, UID: b.UID, Isolation: b.Isolation}
	clear(s.capsules)
	s.totals.Starts++
	return nil
}

func (s *State) daemonStopped(e *event.Event, b *event.DaemonStopped) error {
	if s.run == nil || s.run.Stopped.Seq != 0 {
		return of(e, "daemon", "not running", "stopped")
	}
	s.run.Stopped, s.run.Reason = at(e), b.Reason
	s.totals.Stops++
	return nil
}

// recoveryStarted may follow itself: a recovery that crashed, or the ledger's
// own reopening, runs again.
func (s *State) recoveryStarted(e *event.Event) error {
	if s.run == nil || s.run.Stopped.Seq != 0 {
		return of(e, "recovery", "daemon not running", "started")
	}
	s.run.Recovering = true
	return nil
}

func (s *State) recoveryFinished(e *event.Event) error {
	if s.run == nil || !s.run.Recovering {
		return of(e, "recovery", "not started", "finished")
	}
	s.run.Recovering, s.run.Recovered = false, at(e)
	return nil
}

// capsuleLoaded replaces a capsule of the same name: that is an upgrade.
func (s *State) capsuleLoaded(e *event.Event, b *event.CapsuleLoaded) error {
	if e.Capsule == "" {
		return malformed(e, "it names no capsule")
	}
	s.capsules[e.Capsule] = &Capsule{
		Name: e.Capsule, Loaded: at(e), Version: b.Version,
		ManifestSHA256: b.ManifestSHA256, ModuleSHA256: b.ModuleSHA256, ModuleBytes: b.ModuleBytes,
		HostProcess: b.HostProcess, AllowPersistent: b.AllowPersistent,
	}
	return nil
}

func (s *State) capsuleUnloaded(e *event.Event) error {
	if s.capsules[e.Capsule] == nil {
		return of(e, "capsule "+e.Capsule, "none", "unloaded")
	}
	delete(s.capsules, e.Capsule)
	return nil
}

func (s *State) policyChanged(e *event.Event, b *event.PolicyChanged) error {
	if b.Subject == "" {
		return malformed(e, "it names no subject")
	}
	s.policies[b.Subject] = &Policy{Subject: b.Subject, Changed: at(e), SHA256: b.SHA256}
	return nil
}

// invocationStarted opens an invocation. Call ids come from callers, so two
// open ones may share everything; each start needs a finish of its own.
func (s *State) invocationStarted(e *event.Event, b *event.InvocationStarted) error {
	s.invocations = append(s.invocations, &Invocation{
		Started: at(e), Principal: e.Principal, Capsule: e.Capsule,
		Instance: e.Instance, CallID: e.CallID, Actor: e.Actor, Action: b.Action,
	})
	s.totals.Invocations++
	return nil
}

// invocationFinished closes the oldest open invocation of the same scope.
func (s *State) invocationFinished(e *event.Event, b *event.InvocationFinished) error {
	i := slices.IndexFunc(s.invocations, func(o *Invocation) bool {
		return o.Principal == e.Principal && o.Capsule == e.Capsule &&
			o.Instance == e.Instance && o.CallID == e.CallID
	})
	if i < 0 {
		return of(e, "invocation "+e.CallID, "none", "finished")
	}
	s.setUp(s.invocations[i], e, b)
	s.invocations = slices.Delete(s.invocations, i, i+1)
	s.totals.InvocationsFinished++
	return nil
}

// setUp notes that a capsule was installed or upgraded. Only the daemon's own
// call counts: a capsule may have a handler of that name.
func (s *State) setUp(i *Invocation, e *event.Event, b *event.InvocationFinished) {
	c := s.capsules[i.Capsule]
	if c == nil || i.Actor.Kind != event.ActorHost || b.Outcome != "ok" || (i.Action != ActionInstall && i.Action != ActionUpgrade) {
		return
	}
	s.installed[i.Capsule] = &Installed{Name: i.Capsule, ModuleSHA256: c.ModuleSHA256, Finished: at(e)}
}
