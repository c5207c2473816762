//go:build linux

package worldcheck

import "time"

// Settled looks until nothing is wrong, for bound at most, and returns what is
// wrong then. It is for a running daemon, which may be about to record or to
// delete something: what is false stays so, and what is only late does not.
func Settled(bound time.Duration, look func() []string) []string {
	for end := time.Now().Add(bound); ; time.Sleep(20 * time.Millisecond) {
		problems := look()
		if len(problems) == 0 || time.Now().After(end) {
			return problems
		}
	}
}
