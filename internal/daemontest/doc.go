// Package daemontest runs real daemons for tests: it builds astridd and
// astrid-shim with their crash points, lays data directories, starts, kills and
// stops daemons in them, has a capsule run programs that leave a witness, and
// arms processes to die at a crash point.
//
// Where to look:
//
//   - build.go: the binaries, the capsule, and what they are built for.
//   - site.go: a data directory with its configuration and its processes.
//   - daemon.go: one run of astridd.
//   - driver.go: the capsule that does what a test tells it, and its programs.
//   - teller.go: programs that witness all that they do.
//   - armed.go: a site whose processes die where a test wants them to.
//   - check.go: what must hold after a crash.
//   - norace.go: whether the race detector is at work.
//   - events.go: what the ledger of a running daemon holds, and waiting.
package daemontest
