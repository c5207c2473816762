//go:build crashpoints

package crashpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// Enabled tells whether this build can crash on purpose.
const Enabled = true

var (
	target, nth = parse(os.Getenv("ASTRID_CRASH_AT"))
	passed      atomic.Int64
)

func parse(s string) (name string, nth int64) {
	name, count, found := strings.Cut(s, "#")
	if !found {
		return name, 1
	}
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 1 {
		panic("ASTRID_CRASH_AT: want NAME or NAME#N, got " + s)
	}
	return name, n
}

// Here marks the point name. If ASTRID_CRASH_AT names it, the process is gone
// before Here returns: by SIGKILL, so that no deferred function runs and no
// buffer is flushed.
func Here(name string) {
	if target == "" || name != target {
		return
	}
	if passed.Add(1) != nth {
		return
	}
	die()
	select {} // the signal is on its way
}
