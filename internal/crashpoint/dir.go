//go:build crashpoints

package crashpoint

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// With ASTRID_CRASH_AT=@DIR a test arms and watches processes that run already:
//
//	DIR/target    "name" or "name#3", read at each passing; none: nobody dies
//	DIR/hold      "name": whoever passes it waits there until the file is gone
//	DIR/trace     a line for each passing, of every process
//	DIR/NAME.N    the Nth passing of the target, counted over all processes
//
// Passings are counted over processes, because each program has a shim of its
// own, and only one of them is to die.

// dueInDir notes the passing and tells whether to die at it. A process that
// cannot reach the directory lives on, and the test that waits for its death
// fails.
func dueInDir(name string) bool {
	trace(name)
	hold(name)
	b, err := os.ReadFile(filepath.Join(dir, "target"))
	if err != nil {
		return false
	}
	target, nth := parse(strings.TrimSpace(string(b)))
	return name == target && ordinal(name) == nth
}

// hold stands still while the test wants that.
func hold(name string) {
	for {
		b, err := os.ReadFile(filepath.Join(dir, "hold"))
		if err != nil || strings.TrimSpace(string(b)) != name {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// trace appends one line; short appends do not mix.
func trace(name string) {
	f, err := os.OpenFile(filepath.Join(dir, "trace"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = f.WriteString(name + "\n")
}

// ordinal claims the next number of a passing; a file that nobody else could
// make is the claim.
func ordinal(name string) int64 {
	for n := int64(1); ; n++ {
		f, err := os.OpenFile(filepath.Join(dir, name+"."+strconv.FormatInt(n, 10)), os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			f.Close()
			return n
		}
		if !os.IsExist(err) {
			return 0
		}
	}
}
