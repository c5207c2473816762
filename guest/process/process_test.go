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
	// Output: guest: not running in a capsule
}

// TestRequestLayout holds the offsets by which the host reads a request; that
// it does read it is tested on the host's side.
func TestRequestLayout(t *testing.T) {
	r := Request{Cmd: "git", Args: []string{"log", "-1"}, Stdin: []byte{}, Env: []Var{{"K", "V"}}, Dir: "sub",
		Limits: &Limits{MemoryBytes: 1 << 33, Processes: 9}}
	k := r.lower().View()
	args, env := k.List(8, 8), k.List(28, 16)
	if k.Text(0) != "git" || len(args) != 2 || args[1].Text(0) != "-1" || len(env) != 1 || env[0].Text(0) != "K" || env[0].Text(8) != "V" {
		t.Error("command, arguments or environment")
	}
	if k.U8(16) != 1 || k.U32(24) != 0 || k.U8(36) != 1 || k.Text(40) != "sub" {
		t.Error("stdin or directory")
	}
	if k.U8(48) != 1 || k.U8(56) != 1 || k.U32(68) != 2 || k.U8(72) != 0 || k.U8(88) != 1 || k.U32(92) != 9 {
		t.Error("limits")
	}
	if none := (Request{Cmd: "x"}).lower().View(); none.U8(16) != 0 || none.U8(36) != 0 || none.U8(48) != 0 {
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
