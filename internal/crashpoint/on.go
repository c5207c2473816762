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
	dir, target, nth = setting(os.Getenv("ASTRID_CRASH_AT"))
	passed           atomic.Int64
)

// setting reads the variable: a directory, or a point.
func setting(s string) (dir, name string, nth int64) {
	if dir, ok := strings.CutPrefix(s, "@"); ok {
		return dir, "", 0
	}
	name, nth = parse(s)
	return "", name, nth
}

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
	if !due(name) {
		return
	}
	die()
	select {} // the signal is on its way
}

// due tells whether this passing is the one to die at.
func due(name string) bool {
	if dir != "" {
		return dueInDir(name)
	}
	return target != "" && name == target && passed.Add(1) == nth
}
