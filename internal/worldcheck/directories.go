//go:build linux

package worldcheck

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// directories compares handles with process directories, their locks and their
// records, and the counters with the locks that are held.
func (w World) directories(c *Checker) (problems sentences) {
	held, present := map[string]uint32{}, map[string]bool{}
	entries, err := os.ReadDir(filepath.Join(w.Data, "processes"))
	if err != nil {
		return sentences{err.Error()}
	}
	for _, e := range entries {
		present[e.Name()] = true
		id, err := ulid.ParseStrict(e.Name())
		if err != nil {
			problems.say("processes/%s is no handle's directory", e.Name())
			continue
		}
		h, known := c.state.Handle(id)
		locked := lockHeld(filepath.Join(w.Data, "processes", e.Name(), "lock"))
		switch {
		case !known:
			problems.say("%s has a directory and no handle (shim alive: %v)", id, locked)
			continue
		case locked && !h.Phase.Live():
			problems.say("%s is %v, and its shim lives", id, h.Phase)
		case !locked && h.Phase.Live():
			problems.say("%s is %v, and its shim is dead", id, h.Phase)
		case locked:
			held[h.Principal]++
		}
		w.directory(&problems, c.stories[id], h)
	}
	for _, h := range c.state.Handles() {
		if !present[h.ID.String()] {
			problems.say("%s is %v and has no directory", h.ID, h.Phase)
		}
	}
	for _, t := range c.state.Tallies() {
		if n := c.state.LivePrincipal(t.Principal).Total(); n != held[t.Principal] {
			problems.say("principal %s is counted with %d live processes, and has %d", t.Principal, n, held[t.Principal])
		}
	}
	return problems
}

// lockHeld tells whether a living process holds the lock of a directory.
func lockHeld(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK
}

// records are what a process directory holds; absent ones are nil.
type records struct {
	ready, started, failed, exit fields
	gone                         bool // `go` is there: the program may have run
	stdout, stderr               *ring
}

func readRecords(s *sentences, dir, who string) (r records) {
	for name, to := range map[string]*fields{"ready": &r.ready, "started": &r.started, "failed": &r.failed, "exit": &r.exit} {
		var err error
		if *to, err = record(dir, name); err != nil {
			s.say("%s: %v", who, err)
		}
	}
	_, err := os.Lstat(filepath.Join(dir, "go"))
	r.gone = err == nil
	for name, to := range map[string]**ring{ringStdout: &r.stdout, ringStderr: &r.stderr} {
		var err error
		if *to, err = readRing(dir, name); err != nil {
			s.say("%s: %v", who, err)
		}
	}
	return r
}

// directory compares what the shim wrote down with what the ledger holds.
func (w World) directory(problems *sentences, s *story, h *projector.Handle) {
	if s == nil {
		return // a ledger that begins after its request
	}
	who := h.ID.String()
	r := readRecords(problems, filepath.Join(w.Data, "processes", who), who)
	if s.started != nil && r.started != nil {
		startedAgrees(problems, s.started, r.started, who)
	}
	if s.started != nil && r.ready != nil {
		sameIdentity(problems, s.started.Shim, identity(r.ready.part(2)), who+": shim that was ready")
	}
	if s.started == nil && r.started != nil && !(s.end == event.KindProcessLost || s.end == event.KindProcessExited) {
		problems.say("%s: the shim wrote that the program started, and the ledger does not know it (%v)", who, h.Phase)
	}
	if s.end == event.KindSpawnAborted && (r.gone || r.started != nil) {
		problems.say("%s: the ledger says that nothing ran, and the shim had taken go", who)
	}
	switch {
	case r.exit != nil && s.exit != nil:
		exitAgrees(problems, s.exit, r.exit, who)
	case r.exit != nil:
		problems.say("%s is %v, and its shim wrote an exit record", who, h.Phase)
	case s.exit != nil:
		problems.say("%s exited, and its directory has no exit record", who)
	}
	switch {
	case r.failed != nil && s.failed != nil:
		failedAgrees(problems, s.failed, r.failed, who)
	case r.failed != nil:
		problems.say("%s is %v, and its shim wrote that the start failed", who, h.Phase)
	case s.failed != nil && r.ready != nil:
		problems.say("%s failed to start, and its directory has no record of that", who)
	}
	if s.exit != nil {
		ringAgrees(problems, s.exit.Stdout, r.stdout, who+": stdout")
		ringAgrees(problems, s.exit.Stderr, r.stderr, who+": stderr")
	}
}

// ringAgrees compares the ring's content with the digest of process.exited,
// where the ring holds the whole stream.
func ringAgrees(problems *sentences, e event.StreamSummary, r *ring, what string) {
	if r == nil {
		problems.say("%s exited, and its ring is missing", what)
		return
	}
	if r.total > e.Bytes {
		problems.say("%s has %d bytes by the ledger, and its ring took %d", what, e.Bytes, r.total)
	}
	if e.Dropped == 0 && r.total != e.Bytes {
		problems.say("%s dropped nothing by the ledger and has %d bytes, and its ring took %d", what, e.Bytes, r.total)
	}
	if e.Dropped > e.Bytes {
		problems.say("%s dropped %d of %d bytes by the ledger", what, e.Dropped, e.Bytes)
	}
	if sum := sha256.Sum256(r.kept); r.from == 0 && r.total == e.Bytes && hex.EncodeToString(sum[:]) != hex.EncodeToString(e.SHA256) {
		problems.say("%s has the SHA-256 %x by the ledger, and its ring %x", what, e.SHA256, sum)
	}
}
