// Package suites is the room of the tests that belong to no room alone: each runs
// the real programs together, as internal/daemontest builds and starts them, and
// most have internal/worldcheck compare the ledger with what is. They are packages
// of their own so that each stays short of the time that a package is given.
//
// Where to look:
//
//   - crashmatrix: a kill at each crash point, over programs of every tier and state.
//   - crashstories: the same, in what fits no cell: a first start, a restored backup.
//   - torture: random kills for as long as you like (`make torture`).
//   - powercut: the disks that a power cut could leave, from recorded system calls.
//   - uml: an old kernel, and a real power cut of it (`make uml`).
//   - faults: full and failing disks, a damaged ledger, what does not answer or die.
//   - upgrade: the orderly restart, from one version to another.
//   - systemd: socket activation, readiness, watchdog, unit files.
//   - bench: how long a daemon takes to be ready (`make bench`).
package suites
