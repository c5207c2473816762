// Package host is the process host: it decides whether a capsule may run a
// program, has it run, and tells how it ended, each of these in the ledger
// first.
//
// Two rules hold everywhere in it. No receipt, no act: nothing is started,
// signalled or deleted but by host/act, which takes a receipt of the commit
// that recorded the intent. And its mirror: no answer, no outcome, before the
// event that records it is durable.
//
// Where to look:
//
//   - host.go: what a host works with, and its start. types.go and errors.go:
//     what callers (the guest binding, the daemon) hand in and get back.
//   - spawn.go: a request on its way to a decision; validate.go, inject.go and
//     workspace.go check it, plan.go is what the decision is given, host/policy
//     holds the rules.
//   - owner.go: the one goroutine that owns each handle; order.go has the
//     signals it sends, notice.go what it hears from the shim, end.go how it
//     records an outcome, alarm.go its timers, by the clocks of clock.go.
//   - process.go and process_streams.go: the methods of a handle; streams.go is
//     what its owner does with standard input and output, cursor.go the tokens of
//     reads by position.
//   - persist.go: the persistent tier, whose processes the host keeps for their
//     creators; terms.go says what they are granted, processid.go who may use
//     them, byid.go and info.go how. kept.go has their idle and retention
//     timers, watch.go publishes what becomes of them.
//   - cancel.go, invocation.go: what a cancel reaches, and the calls that it
//     interrupts.
//   - recover.go: what a restarted daemon makes of each handle and directory;
//     match.go is the table, settle.go, adopt.go and orphan.go carry it out.
//     job.go says for what of it the start waits, findings.go what ledger and
//     disk say of each other.
//   - record.go, mend.go, emergency.go: while the ledger cannot commit.
//   - operator.go: what operators do to processes, which they name by handle.
//   - shutdown.go: the orderly end.
package host
