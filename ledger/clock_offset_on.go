//go:build crashpoints

package ledger

import (
	"os"
	"strings"
	"time"
)

// offsetFile names a file that holds a duration, by which a test has the wall
// clock of a running daemon be wrong. The machine's own clock is everybody's.
var offsetFile = os.Getenv("ASTRID_WALL_OFFSET")

// wallOffset reads it anew each time; without one, or while it makes no sense,
// the clock is right.
func wallOffset() int64 {
	if offsetFile == "" {
		return 0
	}
	b, err := os.ReadFile(offsetFile)
	if err != nil {
		return 0
	}
	d, err := time.ParseDuration(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return int64(d)
}
