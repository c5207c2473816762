//go:build linux

package act

import (
	"unicode/utf8"
)

// DrainLogs returns what the program wrote since the last drain, at most the
// newest RingBytes of each stream. While the program may write more, a rune that
// is only half there stays for the next drain. It works after the exit, and
// after a restart of the daemon goes on where it had stopped; after Close or
// Trash it fails.
func (c *Child) DrainLogs() (stdout, stderr []byte, err error) {
	c.mu.Lock()
	keep := partialRune
	if c.ended {
		keep = nothing
	}
	c.mu.Unlock()
	c.logMu.Lock()
	defer c.logMu.Unlock()
	if c.logs[0] == nil || c.logs[1] == nil {
		return nil, nil, errClosedChild
	}
	if stdout, _, err = c.logs[0].Drain(keep); err != nil {
		return nil, nil, err
	}
	stderr, _, err = c.logs[1].Drain(keep)
	return stdout, stderr, err
}

func nothing([]byte) int { return 0 }

// partialRune returns how many bytes at the end of b may be the beginning of a
// rune whose rest has not been written yet.
func partialRune(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		tail := b[len(b)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
