//go:build linux

package shim

import (
	"os"

	"golang.org/x/sys/unix"
)

// tree is everything that the program has started, the program included.
type tree interface {
	// signal sends sig to all of it. unix.ESRCH says that there is nobody.
	signal(sig unix.Signal) error

	// empty tells whether nobody is left, the unreaped included.
	empty() bool
}

// namespace is the tree of a shim that is PID 1: all other processes of its PID
// namespace, whatever they did to their sessions and groups. The kernel
// delivers to all of them in one call.
type namespace struct{}

func (namespace) signal(sig unix.Signal) error { return unix.Kill(-1, sig) }
func (namespace) empty() bool                  { return unix.Kill(-1, 0) == unix.ESRCH }

// descendants is the tree of a shim without a namespace. As a subreaper it is an
// ancestor of everything that the program left behind, and finds it by walking
// /proc. The walk can be outrun by a program that forks all the time, so
// whoever wants the tree gone repeats it until it is empty.
type descendants struct {
	procfd int
	group  func() int // the program's process group, 0 once the program is reaped: its number may be another's then
}

// signal stops all of it before a KILL: a parent that still ran would see its
// children die, start others, and reap those that count as killed here.
func (d descendants) signal(sig unix.Signal) error {
	if sig == unix.SIGKILL {
		d.each(unix.SIGSTOP)
	}
	return d.each(sig)
}

func (d descendants) each(sig unix.Signal) error {
	sent := false
	group := d.group()
	if group != 0 && unix.Kill(-group, sig) == nil {
		sent = true // at one instant, which the walk is not
	}
	for pid, s := range d.walk() {
		if group != 0 && s.pgrp == group {
			continue // got it above
		}
		if d.send(pid, s, sig) {
			sent = true
		}
	}
	if !sent {
		return unix.ESRCH
	}
	return nil
}

// send signals a process that the walk saw. Its parent may have reaped it
// since, so the start time is compared while a pidfd is held.
func (d descendants) send(pid int, seen stat, sig unix.Signal) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	now, err := readStat(d.procfd, pid)
	if err != nil || now.start != seen.start || now.state == 'Z' {
		return false
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0) == nil
}

// empty needs no walk: whoever is left has an ancestor that is our child, as
// the orphaned ones become ours.
func (d descendants) empty() bool {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == unix.ECHILD
		}
	}
}

// walk returns every descendant of this process.
func (d descendants) walk() map[int]stat {
	all := d.processes()
	mine := map[int]stat{}
	self := os.Getpid()
	for pid := range all {
		if descends(all, pid, self) {
			mine[pid] = all[pid]
		}
	}
	return mine
}

// descends follows the parents of pid up to ancestor. The number of steps is
// bounded: the stats are read one after another, and a number that was reused
// meanwhile could close a circle.
func descends(all map[int]stat, pid, ancestor int) bool {
	for range len(all) {
		s, ok := all[pid]
		if !ok {
			return false
		}
		if s.ppid == ancestor {
			return true
		}
		pid = s.ppid
	}
	return false
}

// processes reads the stat of every process that procfd shows.
func (d descendants) processes() map[int]stat {
	all := map[int]stat{}
	for _, pid := range numbers(d.procfd, ".") {
		if s, err := readStat(d.procfd, pid); err == nil {
			all[pid] = s
		}
	}
	return all
}
