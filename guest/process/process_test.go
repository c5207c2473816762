package process

import (
	"errors"
	"fmt"
	"testing"
)

func ExampleSpawn() {
	res, err := Spawn(Request{Cmd: "git", Args: []string{"status", "--short"}})
	switch {
	case errors.Is(err, ErrDenied):
		fmt.Println("the manifest does not name git")
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Print(res.Stdout)
	}
	// Output: process: not running in a capsule
}

// TestRequestLayout holds the offsets by which the host reads a request; that
// it does read it is tested on the host's side.
func TestRequestLayout(t *testing.T) {
	r := Request{Cmd: "git", Args: []string{"log", "-1"}, Stdin: []byte{}, Env: []Var{{"K", "V"}}, Dir: "sub",
		Limits: &Limits{MemoryBytes: 1 << 33, Processes: 9}}
	k := r.lower()
	text := func(at uint32) string {
		p, n := k.GetU32(at), k.GetU32(at+4)
		b := make([]byte, n)
		for i := range b {
			b[i] = k.GetU8(p + uint32(i))
		}
		return string(b)
	}
	args, env := k.GetU32(8), k.GetU32(28)
	if text(0) != "git" || k.GetU32(12) != 2 || text(args+8) != "-1" || k.GetU32(32) != 1 || text(env) != "K" || text(env+8) != "V" {
		t.Error("command, arguments or environment")
	}
	if args%4 != 0 || env%4 != 0 {
		t.Errorf("lists at %d and %d", args, env)
	}
	if k.GetU8(16) != 1 || k.GetU32(24) != 0 || k.GetU8(36) != 1 || text(40) != "sub" {
		t.Error("stdin or directory")
	}
	if k.GetU8(48) != 1 || k.GetU8(56) != 1 || k.GetU32(68) != 2 || k.GetU8(72) != 0 || k.GetU8(88) != 1 || k.GetU32(92) != 9 {
		t.Error("limits")
	}
	if none := (Request{Cmd: "x"}).lower(); none.GetU8(16) != 0 || none.GetU8(36) != 0 || none.GetU8(48) != 0 {
		t.Error("what was not asked for is there")
	}
}

func TestErrors(t *testing.T) {
	err := error(&Error{Code: Unknown, Detail: "no such program"})
	if err.Error() != "process: unknown: no such program" || errors.Is(err, ErrQuota) {
		t.Error(err)
	}
	if err := fmt.Errorf("while at it: %w", &Error{Code: Quota}); !errors.Is(err, ErrQuota) {
		t.Error(err)
	}
	code, signal := int32(1), int32(9)
	for want, e := range map[string]Exit{"exit status 1": {Code: &code}, "signal 9": {Signal: &signal}, "end unknown": {}} {
		if e.String() != want || e.Success() {
			t.Errorf("%s, want %s", e, want)
		}
	}
	if _, err := SpawnBackground(Request{}); !errors.Is(err, ErrOutside) {
		t.Error(err)
	}
}
