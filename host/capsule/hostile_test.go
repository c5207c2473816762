package capsule_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/host/capsule"
)

// hostile are guests that break a rule, each with the reason that the ledger
// gives for their end, or one of several. "" as reason: the guest lives on.
func hostile() map[string]struct {
	module []byte
	reason string
} {
	type guests = map[string]struct {
		module []byte
		reason string
	}
	all := guests{}
	add := func(name, reason string, build func(g *guest) []byte) {
		all[name] = struct {
			module []byte
			reason string
		}{build(newGuest()), reason}
	}
	// Requests that are not what they should be.
	spoilt := func(name, reason string, spoil func(*Image)) {
		add(name, reason, func(g *guest) []byte {
			g.request(spoil, "true", "a")
			g.Bump(cellAt, heapAt)
			return g.hook(call(g.spawn, imageAt, returnAt))
		})
	}
	spoilt("string-out-of-bounds", "outside the memory", func(i *Image) { i.U32(imageAt, 0x1fff0); i.U32(imageAt+4, 0x20) })
	spoilt("string-near-2-32", "more than the memory holds", func(i *Image) { i.U32(imageAt+4, 0xffff_ffff) })
	spoilt("string-wraps", "outside the memory", func(i *Image) { i.U32(imageAt, 0xffff_fff0); i.U32(imageAt+4, 0x10) })
	spoilt("list-near-2-32", "more than the memory holds", func(i *Image) { i.U32(imageAt+12, 0xffff_ffff) })
	spoilt("list-overflows-32-bits", "more than the memory holds", func(i *Image) { i.U32(imageAt+12, 0x2000_0001) })
	spoilt("list-misaligned", "not aligned", func(i *Image) { i.U32(imageAt+8, i.Base+1) })
	spoilt("empty-list-misaligned", "not aligned", func(i *Image) { i.U32(imageAt+28, 2) })
	spoilt("not-utf-8", "not UTF-8", func(i *Image) { i.Text(imageAt, "\xed\xa0\x80") })
	spoilt("option-tag", "no case 2", func(i *Image) { i.U8(imageAt+16, 2) })
	spoilt("enum-case", "no case 9", func(i *Image) { i.U8(imageAt+118, 1); i.U8(imageAt+119, 9) })
	spoilt("the-same-bytes-again-and-again", "more than the memory holds", func(i *Image) {
		list := i.Alloc(16*200, 4)
		for n := range uint32(200) {
			i.U32(list+16*n+8, 40_000) // zeros, which are UTF-8
			i.U32(list+16*n+12, 1<<16)
		}
		i.U32(imageAt+28, list)
		i.U32(imageAt+32, 200)
	})

	// Lists that are well formed and too long: refused, and not lifted.
	long := func(name string, pages uint32, spoil func(*Image)) {
		add(name, "", func(g *guest) []byte {
			g.Memory(pages, 0)
			g.request(spoil, "true", "a")
			g.Bump(cellAt, pages<<16)
			return g.hook(call(g.spawn, imageAt, returnAt), refusedOrTrap(returnAt))
		})
	}
	long("args-without-number", 256, func(i *Image) { i.U32(imageAt+8, 1<<16); i.U32(imageAt+12, 200<<13) })
	long("env-without-number", 256, func(i *Image) { i.U32(imageAt+28, 1<<16); i.U32(imageAt+32, 200<<12) })
	long("args-without-measure", 256, func(i *Image) {
		list := i.Alloc(16, 4)
		for n := range uint32(2) {
			i.U32(list+8*n, 1<<16)
			i.U32(list+8*n+4, 1<<19+1)
		}
		i.U32(imageAt+8, list)
		i.U32(imageAt+12, 2)
	})

	calls := func(name, reason string, code func(g *guest) []byte) {
		add(name, reason, func(g *guest) []byte {
			g.request(nil, "sleep", "1")
			g.Bump(cellAt, heapAt)
			return g.hook(code(g))
		})
	}
	calls("request-misaligned", "not aligned to 8", func(g *guest) []byte { return call(g.spawn, imageAt+4, returnAt) })
	calls("request-outside", "outside the memory", func(g *guest) []byte { return call(g.spawn, 0xffff_fff8, returnAt) })
	calls("return-misaligned", "not aligned to 4", func(g *guest) []byte { return call(g.spawn, imageAt, returnAt+2) })
	calls("return-outside", "outside the memory", func(g *guest) []byte { return call(g.spawn, imageAt, 0x1fffc) })
	calls("handle-zero", "no handle of this instance", func(g *guest) []byte { return call(g.osPid, 0, returnAt) })
	calls("handle-foreign", "no handle of this instance", func(g *guest) []byte { return call(g.kill, 1, returnAt) })
	calls("handle-dropped", "no handle of this instance", func(g *guest) []byte {
		return slices.Concat(call(g.background, imageAt, returnAt), call(g.drop, 1), call(g.readLogs, 1, returnAt))
	})
	calls("dropped-twice", "no handle of this instance", func(g *guest) []byte {
		return slices.Concat(call(g.background, imageAt, returnAt), call(g.drop, 1), call(g.drop, 1))
	})
	calls("signal-that-is-none", "no case 7", func(g *guest) []byte {
		return slices.Concat(call(g.background, imageAt, returnAt), call(g.signal, 1, 7, returnAt))
	})
	calls("handles-without-end", "did not return after it was cancelled", func(g *guest) []byte {
		return Forever(call(g.background, imageAt, returnAt))
	})
	calls("trap", "unreachable", func(g *guest) []byte { return Trap() })
	calls("endless-loop", "did not return", func(g *guest) []byte { return Forever() })
	calls("endless-loop-of-calls", "did not return", func(g *guest) []byte { return Forever(call(g.spawn, imageAt, returnAt)) })
	calls("memory-without-end", "did not return", func(g *guest) []byte { return Forever(Const(16), Grow(), Drop()) })
	// On a busy machine the deadline comes before the end of the stack.
	add("recursion-without-end", "stack overflow|did not return", func(g *guest) []byte {
		g.Bump(cellAt, heapAt)
		self := uint32(8 + 1 + 1) // after the imports, the allocator and the hook
		g.hook(Call(self))
		g.Func("", "", "", 0, Call(self))
		return g.Bytes()
	})
	add("table-without-end", "did not return", func(g *guest) []byte {
		g.Table(1)
		g.Bump(cellAt, heapAt)
		return g.hook(Forever(TableGrow(1<<28), Drop()))
	})

	// Guests that begin badly.
	starts := func(name, reason string, code func(g *guest) []byte) {
		add(name, reason, func(g *guest) []byte {
			g.request(nil, "true")
			g.Bump(cellAt, heapAt)
			g.Func("_initialize", "", "", 0, code(g))
			return g.hook()
		})
	}
	starts("initialize-traps", "its instance could not be made", func(*guest) []byte { return Trap() })
	starts("initialize-loops", "did not return", func(*guest) []byte { return Forever() })
	starts("initialize-misuses", "not aligned", func(g *guest) []byte { return call(g.spawn, imageAt+1, returnAt) })
	starts("initialize-spawns", "", func(g *guest) []byte { return call(g.spawn, imageAt, returnAt) })

	// Allocators that cannot be believed.
	allocator := func(name, reason string, body ...[]byte) {
		add(name, reason, func(g *guest) []byte {
			g.request(nil, "true")
			g.Func("cabi_realloc", "iiii", "i", 0, body...)
			return g.hook(call(g.spawn, imageAt, returnAt))
		})
	}
	allocator("realloc-answers-outside", "outside the memory", Const(0xffff_ffff))
	allocator("realloc-answers-past-the-end", "outside the memory", Const(2<<16))
	allocator("realloc-traps", "cabi_realloc failed", Trap())
	allocator("realloc-loops", "did not return", Forever())
	add("realloc-calls-out", "import was called from cabi_realloc", func(g *guest) []byte {
		g.request(nil, "true")
		g.Func("cabi_realloc", "iiii", "i", 0, call(g.spawn, imageAt, returnAt), Const(heapAt))
		return g.hook()
	})
	add("realloc-grows", "", func(g *guest) []byte {
		g.request(nil, "true")
		g.Func("cabi_realloc", "iiii", "i", 0, Const(1), Grow(), []byte{0x41, 16, 0x74}) // memory.grow << 16
		return g.hook(call(g.spawn, imageAt, returnAt))
	})

	// Answers that are not what they should be.
	answers := func(name, reason string, at uint32, spoil func(*Image)) {
		add(name, reason, func(g *guest) []byte {
			g.Bump(cellAt, heapAt)
			im := &Image{Base: imageAt}
			im.Alloc(20, 4)
			spoil(im)
			g.Data(imageAt, im.Bytes())
			g.Func("astrid-hook-trigger", "iiii", "i", 0, Const(at))
			return g.Bytes()
		})
	}
	answers("answer-with-a-long-action", "the action of its answer has 257 bytes", imageAt, func(i *Image) { i.U32(imageAt, heapAt); i.U32(imageAt+4, 257) })
	add("answer-with-long-data", "the data of its answer has 8388609 bytes", func(g *guest) []byte {
		g.Memory(160, 0)
		g.Bump(cellAt, heapAt)
		im := &Image{Base: imageAt}
		im.Alloc(20, 4)
		im.U8(imageAt+8, 1)
		im.U32(imageAt+12, 1<<16)
		im.U32(imageAt+16, 8<<20+1)
		g.Data(imageAt, im.Bytes())
		g.Func("astrid-hook-trigger", "iiii", "i", 0, Const(imageAt))
		return g.Bytes()
	})
	answers("answer-outside", "outside the memory", 0xffff_fffc, func(*Image) {})
	answers("answer-misaligned", "not aligned", imageAt+1, func(*Image) {})
	answers("answer-near-2-32", "at most 256 are taken", imageAt, func(i *Image) { i.U32(imageAt+4, 0xffff_fffe) })
	answers("answer-not-utf-8", "not UTF-8", imageAt, func(i *Image) { i.Text(imageAt, "\xff") })
	answers("answer-option-tag", "no case 3", imageAt, func(i *Image) { i.U8(imageAt+8, 3) })
	add("post-traps", "after it had answered", func(g *guest) []byte {
		g.Bump(cellAt, heapAt)
		g.Func("cabi_post_astrid-hook-trigger", "i", "", 0, Trap())
		return g.hook()
	})
	add("post-calls-out", "after it had answered", func(g *guest) []byte {
		g.request(nil, "true")
		g.Bump(cellAt, heapAt)
		g.Func("cabi_post_astrid-hook-trigger", "i", "", 0, call(g.spawn, imageAt, returnAt))
		return g.hook()
	})
	return all
}

// refusedOrTrap traps unless the result at an address is an error.
func refusedOrTrap(at uint32) []byte {
	return slices.Concat(Const(at), Load8(), []byte{0x45, 0x04, 0x40}, Trap(), []byte{0x0b})
}

// TestHostileGuestsHarmNobody: whatever a guest does, its invocation ends with
// a reason, its instance is given up, and another capsule answers as before.
func TestHostileGuestsHarmNobody(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "honest", honest())
	guests := hostile()
	for name, g := range guests {
		put(t, dir, name, g.module)
	}
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{Deadline: time.Second, Grace: 500 * time.Millisecond})
	if _, err := r.Invoke(t.Context(), invocation("honest", "alice", "c")); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(guests)) {
		t.Run(name, func(t *testing.T) {
			want := guests[name].reason
			a, err := r.Invoke(t.Context(), invocation(name, "alice", "c"))
			end := h.lastEnd(t)
			var failed *capsule.CallError
			switch {
			case want == "" || strings.HasPrefix(want, "after it had answered"):
				if err != nil || string(a.Data) != "fine" {
					t.Errorf("answer %q, error %v", a.Data, err)
				}
			case !errors.As(err, &failed) || failed.Outcome != end.Outcome:
				t.Errorf("error %v, in the ledger %q", err, end.Outcome)
			}
			if !slices.ContainsFunc(strings.Split(want, "|"), func(s string) bool { return strings.Contains(end.Detail, s) }) {
				t.Errorf("detail %q, want one with %q", end.Detail, want)
			}
			if end.InstanceLost != (want != "") {
				t.Errorf("instance lost: %v", end.InstanceLost)
			}
			if lines := h.noted(); want != "" && !strings.HasPrefix(lines[len(lines)-1], "gone alice "+name) {
				t.Errorf("after the end: %q", lines[len(lines)-1])
			}
			if a, err := r.Invoke(t.Context(), invocation("honest", "alice", "c")); err != nil || string(a.Data) != "fine" {
				t.Errorf("the honest capsule answers %q, error %v", a.Data, err)
			}
		})
	}
}

// TestLoopingGuestsStopNobody: while more guests loop than there are cores,
// another capsule answers, and the garbage collector gets its turn.
func TestLoopingGuestsStopNobody(t *testing.T) {
	dir := t.TempDir()
	g := newGuest()
	g.Bump(cellAt, heapAt)
	put(t, dir, "loops", g.hook(Forever()))
	put(t, dir, "honest", honest())
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{Deadline: time.Hour, Grace: 10 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	n := runtime.GOMAXPROCS(0) + 2
	for i := range n {
		wg.Go(func() { _, _ = r.Invoke(ctx, invocation("loops", fmt.Sprint("p", i), "c")) })
	}
	until("all of them loop", func() bool { return strings.Count(strings.Join(h.noted(), "\n"), "begin loops") == n })
	for range 5 {
		began := time.Now()
		if a, err := r.Invoke(t.Context(), invocation("honest", "alice", "c")); err != nil || string(a.Data) != "fine" {
			t.Fatalf("the honest capsule answers %q, error %v", a.Data, err)
		}
		answered := time.Since(began)
		runtime.GC()
		t.Logf("%d guests loop: an honest call took %v, a collection %v", n, answered, time.Since(began)-answered)
		if took := time.Since(began); took > time.Minute { // a guest that cannot be interrupted stops it for good
			t.Errorf("an honest call and a collection took %v", took)
		}
	}
}
