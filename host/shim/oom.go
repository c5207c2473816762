//go:build linux

package shim

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Scores by which the kernel chooses whom it kills when memory runs out: each
// point stands for a thousandth of the machine's memory, from -1000 (never) to
// 1000 (first).
const (
	// scoreShim makes a shim the last choice, but not an impossible one: a
	// machine on which nobody may be chosen stops.
	scoreShim = -999

	// scoreAbove is how far above its shim a program stands where the shim
	// may not lower its own score. A tenth of the memory is more than any shim
	// or launcher takes, so even a tiny program is chosen before them.
	scoreAbove = 100

	scoreMost = 1000
)

// oom is the score of the shim and that of its program. The program is not to
// inherit the shim's: a fork has it from its parent, and at once, so the shim
// takes the program's for as long as the fork takes. Set from outside afterwards
// it would come too late for what the program forks first.
type oom struct {
	fd           int // of the shim's own score; -1: it cannot be set, and the program has what it inherits
	own, program int
}

// openScore must be called while the process is dumpable: after that the file
// belongs to root.
func openScore() *oom {
	fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &oom{fd: -1}
	}
	o := &oom{fd: fd}
	if o.own, err = o.read(); err != nil {
		unix.Close(fd)
		o.fd = -1
	}
	return o
}

// protect lowers the shim's score as far as its rights allow and chooses the
// program's. What protects the daemon, below zero, is not the program's either;
// one that is above, the whole house having been put first, stays.
func (o *oom) protect() {
	if o.fd < 0 {
		return
	}
	inherited := o.own
	if o.own > scoreShim && o.write(scoreShim) == nil {
		o.own = scoreShim
	}
	o.program = min(max(0, inherited, o.own+scoreAbove), scoreMost)
}

// lend calls fork with the program's score. The kernel lets anybody raise a
// score, and lower it to where it was.
func (o *oom) lend(fork func()) {
	if o.fd >= 0 && o.write(o.program) == nil {
		defer o.write(o.own)
	}
	fork()
}

func (o *oom) read() (int, error) {
	var b [16]byte
	n, err := unix.Pread(o.fd, b[:], 0)
	if err != nil {
		return 0, os.NewSyscallError("read oom_score_adj", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(b[:n])))
}

func (o *oom) write(score int) error {
	_, err := unix.Pwrite(o.fd, strconv.AppendInt(nil, int64(score), 10), 0)
	return os.NewSyscallError("write oom_score_adj", err)
}
