//go:build linux

package shim

import (
	"bytes"
	"errors"
	"strconv"
	"time"
)

// Usage is what a living process has used so far.
type Usage struct {
	CPU       time.Duration // of all its threads, user and system; in steps of 10 ms
	PeakBytes uint64        // the most that was resident at once
}

// tick is a clock tick in /proc/PID/stat: USER_HZ, which is 100 on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

var errUsage = errors.New("/proc does not tell what the process uses")

// UsageOf reads the usage of the process that pidfd refers to. The number that
// leads to its files is read before and after: a process that has it both times
// was not reaped in between, and so the number was nobody else's.
func UsageOf(procfd, pidfd int) (u Usage, err error) {
	pid, err := NumberOf(procfd, pidfd)
	if err != nil {
		return u, err
	}
	stat, err := readAt(procfd, strconv.Itoa(pid)+"/stat", 4096)
	if err != nil {
		return u, err
	}
	status, err := readAt(procfd, strconv.Itoa(pid)+"/status", 16<<10)
	if err != nil {
		return u, err
	}
	if again, err := NumberOf(procfd, pidfd); err != nil || again != pid {
		return u, errReaped
	}
	var known [2]bool
	u.CPU, known[0] = cpuOf(stat)
	u.PeakBytes, known[1] = peakOf(status)
	if known != [2]bool{true, true} {
		return Usage{}, errUsage
	}
	return u, nil
}

// cpuOf reads fields 14 and 15 of a stat file, counted as parseStat counts.
func cpuOf(b []byte) (time.Duration, bool) {
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 13 {
		return 0, false
	}
	user, err := strconv.ParseInt(string(f[11]), 10, 64)
	if err != nil {
		return 0, false
	}
	system, err := strconv.ParseInt(string(f[12]), 10, 64)
	return time.Duration(user+system) * tick, err == nil
}

// peakOf reads VmHWM of a status file, which a zombie does not have.
func peakOf(b []byte) (uint64, bool) {
	for _, line := range bytes.Split(b, []byte{'\n'}) {
		v, ok := bytes.CutPrefix(line, []byte("VmHWM:"))
		if !ok {
			continue
		}
		kib, err := strconv.ParseUint(string(bytes.TrimSpace(bytes.TrimSuffix(v, []byte("kB")))), 10, 64)
		return kib << 10, err == nil
	}
	return 0, false
}
