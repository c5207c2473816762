// Package ipc is the bus on which capsules talk to one another and to the host:
// messages are published on topics, and every subscription whose pattern
// matches gets them. It lives in the daemon and is no record: what must be
// known after a restart is in the ledger.
//
// Everything in it is bounded. A publisher never waits: a subscription that is
// not read loses its oldest messages and is told how many. A source that
// publishes too much is refused for a moment.
//
// Where to look:
//
//   - topic.go: which topics and patterns there are, and what matches.
//   - bus.go: publishing, and who may publish how much.
//   - subscription.go: the queue of a subscriber.
//   - rate.go: the allowance of a source.
//   - errors.go: the contract's codes.
//   - source.go: by which id a capsule is known to the others.
package ipc
