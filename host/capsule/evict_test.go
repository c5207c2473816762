package capsule_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/host/capsule"
)

// holding is a capsule that starts a program and keeps the handle to it.
func holding() []byte {
	g := newGuest()
	g.request(nil, "sleep", "inf")
	g.Bump(cellAt, heapAt)
	return g.hook(call(g.background, imageAt, returnAt))
}

// TestEviction: with room for three instances, the one that was used longest
// ago makes room for a fourth, and only for that; an instance that holds a
// handle is never ended, though it is the oldest.
func TestEviction(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "honest", honest())
	put(t, dir, "holding", holding())
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{InstanceMemory: 3 * 2 * 65536})
	invoke := func(name, principal string) string {
		t.Helper()
		a, err := r.Invoke(t.Context(), invocation(name, principal, "c"))
		if err != nil {
			t.Fatal(err)
		}
		return a.Instance
	}
	keeper := invoke("holding", "alice")
	a, b := invoke("honest", "alice"), invoke("honest", "bob")
	if again := invoke("honest", "alice"); again != a {
		t.Error("an instance was ended though there was room")
	}
	c := invoke("honest", "carol")
	if live, _ := r.Instances(); live != 3 {
		t.Errorf("%d instances live", live)
	}
	if invoke("holding", "alice") != keeper {
		t.Error("an instance with a handle was ended")
	}
	if invoke("honest", "alice") != a || invoke("honest", "carol") != c {
		t.Error("another than the oldest was ended")
	}
	if invoke("honest", "bob") == b {
		t.Error("the oldest was not ended")
	}
	if text := strings.Join(h.noted(), "\n"); strings.Contains(text, "gone") {
		t.Errorf("processes were ended: %s", text)
	}
}

// TestManyPrincipals: those who call once leave nothing behind.
func TestManyPrincipals(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "honest", honest())
	r := runner(t, dir, &idleHost{}, capsule.RunOptions{InstanceMemory: 4 * 2 * 65536})
	for i := range 200 {
		if _, err := r.Invoke(t.Context(), invocation("honest", "p"+strconv.Itoa(i), "c")); err != nil {
			t.Fatal(err)
		}
	}
	if live, slots := r.Instances(); live > 4 || slots > 4 {
		t.Errorf("%d instances live in %d slots", live, slots)
	}
}

// TestRefusedPrincipals: those whose calls are refused, trap, or are cancelled
// while they wait leave nothing behind either.
func TestRefusedPrincipals(t *testing.T) {
	dir := t.TempDir()
	g := newGuest()
	g.Bump(cellAt, heapAt)
	put(t, dir, "traps", g.hook(abitest.Trap()))
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{})
	for i := range 3 {
		if _, err := r.Invoke(t.Context(), invocation("traps", "t"+strconv.Itoa(i), "c")); err == nil {
			t.Fatal("it did not trap")
		}
	}
	h.beginErr = errors.New("refused")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 50 {
		for _, ctx := range []context.Context{t.Context(), over} {
			if _, err := r.Invoke(ctx, invocation("traps", "p"+strconv.Itoa(i), "c")); err == nil {
				t.Fatal("it was not refused")
			}
		}
	}
	if _, slots := r.Instances(); slots != 0 {
		t.Errorf("%d slots are left", slots)
	}
}

// TestEvictionHammer: calls of many pairs at once under a budget for one are
// all answered.
func TestEvictionHammer(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "honest", honest())
	r := runner(t, dir, &idleHost{}, capsule.RunOptions{InstanceMemory: 1})
	done := make(chan error)
	for i := range 8 {
		go func() {
			var errs []error
			for range 30 {
				a, err := r.Invoke(t.Context(), invocation("honest", fmt.Sprintf("p%d", i%3), "c"))
				if err == nil && string(a.Data) != "fine" {
					err = fmt.Errorf("answered %q", a.Data)
				}
				errs = append(errs, err)
			}
			done <- errors.Join(errs...)
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if live, _ := r.Instances(); live > 1 {
		t.Errorf("%d instances live", live)
	}
}
