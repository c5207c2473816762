package daemon

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestLockOfTheDead holds that a lock whose holder is dead is waited for a
// little, because a child on its way to exec may still hold it, and that one
// whose holder lives is not.
func TestLockOfTheDead(t *testing.T) {
	dir := t.TempDir()
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	held, err := lockData(dir, Holder{PID: dead.Process.Pid, Version: "v"})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond) // any time below the bound will do
		held.Close()
	}()
	mine, err := lockData(dir, Holder{PID: os.Getpid(), Version: "v"})
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	began := time.Now()
	_, err = lockData(dir, Holder{PID: 1, Version: "v"})
	var used *InUseError
	if !errors.As(err, &used) || used.Holder.PID != os.Getpid() || time.Since(began) > lingering/2 {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
}
