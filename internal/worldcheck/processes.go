//go:build linux

package worldcheck

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/ledger/event"
)

// lingerBound is how long an orphaned process of a test may take to notice.
const lingerBound = 2 * time.Second

// processes compares the machine's processes with the handle table, by
// identity: every shim and program that the ledger counts as live lives, and
// test programs and shims live only where a handle does.
func (w World) processes(c *Checker) (problems sentences) {
	shims := map[int]bool{} // host pids of the shims of live handles
	for _, h := range c.state.Handles() {
		s := c.stories[h.ID]
		if !h.Phase.Live() || s == nil || s.started == nil {
			continue
		}
		shims[int(s.started.Shim.PID)] = true
		w.alive(&problems, s.started.Shim, fmt.Sprintf("%s: its shim", h.ID))
		w.alive(&problems, s.started.Program, fmt.Sprintf("%s: its program", h.ID))
	}
	if w.Witness != "" {
		w.marked(&problems, shims)
	}
	if w.Shim != "" {
		w.shims(&problems, shims)
	}
	return problems
}

// alive holds that the process of an identity lives, and not only its number.
func (w World) alive(problems *sentences, i event.Identity, who string) {
	if i.PID == 0 {
		return // it could not be read at its start
	}
	p, err := look(int(i.PID))
	switch {
	case err != nil:
		problems.say("%s should live, and process %d does not: %v", who, i.PID, err)
	case p.ticks != i.StartTicks:
		problems.say("%s should live, and process %d is a stranger that started at %d, not %d", who, i.PID, p.ticks, i.StartTicks)
	case p.state == 'Z':
		problems.say("%s should live, and process %d has ended and is not reaped", who, i.PID)
	case len(i.PidfsHandle) > 0 && p.handle != nil && !bytes.Equal(p.handle, i.PidfsHandle):
		problems.say("%s should live, and process %d has another pidfs handle", who, i.PID)
	}
}

// marked holds that every process of a test program descends from a shim of a
// live handle.
func (w World) marked(problems *sentences, shims map[int]bool) {
	strays := func() (left []Process) {
		for _, p := range Marked(w.Witness) {
			if pid, err := strconv.Atoi(p.PID); err == nil && !descends(pid, shims) {
				left = append(left, p)
			}
		}
		return left
	}
	left := strays()
	// In the weaker mode a killed shim takes only its program along; what that
	// had started ends by itself a moment later, or is left over.
	for end := time.Now().Add(lingerBound); len(left) > 0 && time.Now().Before(end); left = strays() {
		time.Sleep(5 * time.Millisecond)
	}
	for _, p := range left {
		problems.say("process %s (%s, state %s) is left over", p.PID, p.Command, p.State)
	}
}

// descends tells whether a process has an ancestor among the shims, or has
// ended meanwhile.
func descends(pid int, shims map[int]bool) bool {
	for range 64 {
		if shims[pid] {
			return true
		}
		p, err := look(pid)
		if err != nil || p.state == 'Z' {
			return true // gone
		}
		if pid = p.parent; pid <= 1 {
			return false
		}
	}
	return false
}

// shims holds that every shim of the site belongs to a live handle, and that
// none of its processes is left stopped. Where the machine does not tell of
// what a process runs, as to an ordinary user, nothing is found.
func (w World) shims(problems *sentences, shims map[int]bool) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe")); err != nil || exe != w.Shim {
			continue
		}
		p, err := look(pid)
		if err != nil || p.state == 'Z' {
			continue
		}
		switch launcher := strings.HasSuffix(command(e.Name()), " launch"); {
		case p.state == 'T':
			problems.say("process %d (%s) is left stopped", pid, command(e.Name()))
		case launcher && w.Table == nil:
			problems.say("launcher %d lives without a daemon", pid)
		case !launcher && !shims[pid]:
			problems.say("shim %d lives, and no live handle of the ledger names it", pid)
		}
	}
}

// proc is what /proc tells of a process.
type proc struct {
	state  byte
	parent int
	ticks  uint64
	handle []byte // of its pidfd; nil before Linux 6.14
}

// look reads one process; its numbers are of the same process as its handle,
// or it is gone.
func look(pid int) (p proc, err error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return p, err
	}
	defer unix.Close(fd)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 20 {
		return p, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	p.state = f[0][0]
	p.parent, _ = strconv.Atoi(f[1])
	p.ticks, _ = strconv.ParseUint(f[19], 10, 64)
	if h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH); err == nil {
		t := h.Type()
		p.handle = append([]byte{byte(t), byte(t >> 8), byte(t >> 16), byte(t >> 24)}, h.Bytes()...)
	}
	return p, nil
}

// Process is a process of the machine.
type Process struct {
	PID     string
	Command string
	State   string // one letter of /proc/PID/stat
}

// Marked returns the living processes that have WITNESS=witness in their
// environment: the test programs and all that they started.
func Marked(witness string) (found []Process) {
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	mark := "WITNESS=" + witness
	for _, path := range environs {
		env, err := os.ReadFile(path)
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), mark) {
			continue // gone, or somebody else's
		}
		p := Process{PID: filepath.Base(filepath.Dir(path)), State: "?"}
		p.Command = command(p.PID)
		if pid, err := strconv.Atoi(p.PID); err == nil {
			if q, err := look(pid); err == nil {
				p.State = string(q.state)
			}
		}
		found = append(found, p)
	}
	return found
}

// command is a process's command line.
func command(pid string) string {
	b, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}
