package bind

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/ledger/event"
)

const someID = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst"

// id writes an id into the memory and returns it as parameters.
func (w *world) id(id string) []uint64 {
	p, n := w.put(1<<17, id)
	return []uint64{p, n}
}

// idAt is id of some id, somewhere else.
func (w *world) idAt(at uint32) []uint64 {
	p, n := w.put(at, someID)
	return []uint64{p, n}
}

func args(parts ...any) (all []uint64) {
	for _, p := range parts {
		switch v := p.(type) {
		case int:
			all = append(all, uint64(v))
		case []uint64:
			all = append(all, v...)
		}
	}
	return all
}

// TestEveryCallByIDArrives: the id, what else was handed in, and the error.
func TestEveryCallByIDArrives(t *testing.T) {
	grace, far := ptr(1500*time.Millisecond), ptr(time.Duration(math.MaxInt64/1_000_000*1_000_000))
	for _, c := range []struct {
		name  string
		more  []uint64
		check func(f *fake) bool
	}{
		{"attach", nil, nil},
		{"status", nil, nil},
		{"read-logs", nil, nil},
		{"close-stdin", nil, nil},
		{"release-process", nil, nil},
		{"unwatch", nil, nil},
		{"write-stdin", args(1<<17, 3), func(f *fake) bool { return string(f.input) == "abc" }},
		{"signal", args(int(host.SigCont)), func(f *fake) bool { return f.signal == host.SigCont }},
		{"wait", args(1500), func(f *fake) bool { return *f.timeout == *grace }},
		{"wait", []uint64{math.MaxUint64}, func(f *fake) bool { return *f.timeout == *far }},
		{"stop", args(0, 77), func(f *fake) bool { return f.timeout == nil }},
		{"stop", args(1, 1500), func(f *fake) bool { return *f.timeout == *grace }},
		{"watch", args(0, 1, 1), func(f *fake) bool { return f.text == nil }},
		{"watch", args(1, 1<<17, 2), func(f *fake) bool { return *f.text == "ab" }},
		{"read-since", args(1, 0, 1, 1, 9), func(f *fake) bool { return f.stream == host.Stderr && f.text == nil && f.most == 9 }},
		{"read-since", args(0, 1, 1<<17, 2, -1), func(f *fake) bool { return f.stream == host.Stdout && *f.text == "ab" && f.most == math.MaxUint32 }},
	} {
		w := newWorld(t, &fake{}, nil)
		w.call(c.name, append(append(w.id(someID), c.more...), retAt)...)
		w.fine(c.name)
		if w.f.id != someID || w.f.caller.Principal != "alice" || !slices.Equal(w.f.called, []string{c.name}) {
			t.Errorf("%s: called %q for %q, id %q", c.name, w.f.called, w.f.caller.Principal, w.f.id)
		}
		if c.check != nil && !c.check(w.f) {
			t.Errorf("%s(%v): %+v", c.name, c.more, w.f)
		}
		w.f.err = &host.Error{Code: host.NoSuchProcess}
		w.call(c.name, append(append(w.id(someID), c.more...), retAt)...)
		payload := uint32(4)
		if c.name == "status" || c.name == "read-since" {
			payload = 8
		}
		w.failed(c.name, payload, int(host.NoSuchProcess))
	}
}

// TestAnAttachedProcessIsAHandle like one of the other tier.
func TestAnAttachedProcessIsAHandle(t *testing.T) {
	w := newWorld(t, &fake{}, nil)
	w.call("attach", append(w.id(someID), retAt)...)
	h := uint64(w.word(retAt + 4))
	w.call(".os-pid", h, retAt)
	if w.fine("os-pid"); w.word(retAt+4) != 4711 {
		t.Error("it is another process")
	}
	if w.call("~process-handle", h); w.f.dropped != 1 {
		t.Error("it was not let go of")
	}
}

// TestLongNamesAreCutAndStillWrong: what cannot exist costs no more than what
// can, and is not mistaken for it.
func TestLongNamesAreCutAndStillWrong(t *testing.T) {
	w := newWorld(t, &fake{}, nil)
	w.call("status", append(w.id(someID+strings.Repeat("x", 1<<20)), retAt)...)
	if len(w.f.id) > clippedID || w.f.id == someID {
		t.Errorf("id of %d bytes", len(w.f.id))
	}
	p, n := w.put(1<<17, strings.Repeat("é", 1<<18))
	w.call("watch", p, 52, 1, p, n, retAt)
	if len(*w.f.text) != clippedSuffix {
		t.Errorf("suffix of %d bytes", len(*w.f.text))
	}
	w.call("list-processes", 1, p, n, retAt)
	if len(*w.f.text) != clippedLabel {
		t.Errorf("label of %d bytes", len(*w.f.text))
	}
	w.call("read-since", p, 52, 0, 1, p, n, 1, retAt)
	if len(*w.f.text) != clippedToken {
		t.Errorf("token of %d bytes", len(*w.f.text))
	}
	if err := w.try("status", p, 51, retAt); err == nil || !strings.Contains(err.Error(), "not UTF-8") {
		t.Errorf("half a rune: %v", err)
	}
}

func TestInputIsBounded(t *testing.T) {
	for _, c := range []struct {
		name   string
		before []uint64
	}{{"write-stdin", args(1<<17, 52)}, {".write-stdin", args(1)}} {
		w := newWorld(t, &fake{}, full())
		w.background()
		w.call(c.name, append(c.before, 1<<18, 1<<20, retAt)...)
		if w.fine(c.name); w.word(retAt+4) != 1<<20 || len(w.f.input) != 1<<20 {
			t.Errorf("%s took %d", c.name, w.word(retAt+4))
		}
		w.f.input = nil
		w.call(c.name, append(c.before, 1<<18, 1<<20+1, retAt)...)
		if w.failed(c.name, 4, int(host.TooLarge)); w.f.input != nil {
			t.Errorf("%s: too much arrived", c.name)
		}
		if err := w.try(c.name, append(c.before, 1<<18, math.MaxUint32, retAt)...); err == nil {
			t.Errorf("%s: more than the memory did not trap", c.name)
		}
	}
}

var someInfo = host.Info{
	ID: someID, Label: "label\xff", Command: "git", OSPid: ptr[uint32](77), Phase: host.Running,
	Age: 1500 * time.Millisecond, Idle: -time.Second, Buffered: 1 << 33, Dropped: 5, StdinOpen: true,
	CPU: ptr(2 * time.Second), MemPeak: ptr[uint64](1 << 34),
}

// infoAt reads a process-info from the memory.
func (w *world) infoAt(at uint32) (i host.Info) {
	i.ID, i.Label, i.Command = w.text(at), w.text(at+8), w.text(at+16)
	if w.byte(at+24) == 1 {
		i.OSPid = ptr(w.word(at + 28))
	}
	i.Phase = host.ProcessPhase(w.byte(at + 32))
	if w.byte(at+36) == 1 {
		i.Exit = &event.Exit{}
		if w.byte(at+40) == 1 {
			i.Exit.Code = ptr(int32(w.word(at + 44)))
		}
	}
	i.Age, i.Idle = time.Duration(w.long(at+56))*time.Millisecond, time.Duration(w.long(at+64))*time.Millisecond
	i.Buffered, i.Dropped, i.StdinOpen = w.long(at+72), w.long(at+80), w.byte(at+88) == 1
	if w.byte(at+96) == 1 {
		i.CPU = ptr(time.Duration(w.long(at+104)) * time.Millisecond)
	}
	if w.byte(at+112) == 1 {
		i.MemPeak = ptr(w.long(at + 120))
	}
	return i
}

func TestInfosAreLowered(t *testing.T) {
	ended := host.Info{ID: "b", Phase: host.Exited, Exit: &event.Exit{Code: ptr[int32](-1)}}
	w := newWorld(t, &fake{info: someInfo, infos: []host.Info{someInfo, ended}}, nil)
	want := someInfo
	want.Label, want.Idle = "label\uFFFD", 0 // of a clock that was set back
	compare := func(what string, at uint32, want host.Info) {
		if d := cmp.Diff(want, w.infoAt(at), cmpopts.IgnoreUnexported(event.Exit{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	w.call("status", append(w.id(someID), retAt)...)
	w.fine("status")
	compare("status", retAt+8, want)
	for name, a := range map[string][]uint64{"list-processes": args(0, 0, 0, retAt), "status-many": args(1<<17, 0, retAt)} {
		w.call(name, a...)
		if w.fine(name); w.word(retAt+8) != 2 || w.word(retAt+4)%8 != 0 {
			t.Fatalf("%s: %d at %d", name, w.word(retAt+8), w.word(retAt+4))
		}
		compare(name, w.word(retAt+4), want)
		compare(name, w.word(retAt+4)+128, ended)
	}
	w.f.infos = nil
	w.call("list-processes", 0, 0, 0, retAt)
	if w.fine("list-processes"); w.word(retAt+8) != 0 || w.word(retAt+4)%8 != 0 {
		t.Error("no processes are not an empty list")
	}
}

func TestStatusManyTakesManyIDs(t *testing.T) {
	w := newWorld(t, &fake{}, nil)
	const list = 1 << 18
	w.put(1<<17, "onetwo")
	for i, v := range []uint32{1 << 17, 3, 1<<17 + 3, 3} {
		w.mod.Memory().WriteUint32Le(list+uint32(4*i), v)
	}
	w.call("status-many", list, 2, retAt)
	if w.fine("status-many"); !slices.Equal(w.f.ids, []string{"one", "two"}) {
		t.Errorf("ids %q", w.f.ids)
	}
	w.call("status-many", list+16, maxIDs, retAt)
	if w.fine("status-many"); len(w.f.ids) != maxIDs {
		t.Errorf("%d ids", len(w.f.ids))
	}
	w.call("status-many", list+16, maxIDs+1, retAt)
	w.failed("status-many", 4, int(host.TooLarge))
}

func TestChunksAreLowered(t *testing.T) {
	w := newWorld(t, &fake{chunk: host.Chunk{Data: []byte("a\xff\x00"), Next: "token", Dropped: 1 << 40, DrainedEOF: true}}, nil)
	w.call("read-since", append(w.id(someID), 0, 0, 0, 0, 3, retAt)...)
	const at = retAt + 8
	if w.fine("read-since"); w.text(at) != "a\xff\x00" || w.byte(at+8) != 1 || w.text(at+12) != "token" || w.long(at+24) != 1<<40 || w.byte(at+32) != 1 {
		t.Error("read-since's result is not what the host answered")
	}
}

// TestAFullTableRefusesBeforeAnythingStarts: of a spawn the host is told, since
// refusals are recorded; for a pollable there is no error to answer with.
func TestAFullTableRefusesBeforeAnythingStarts(t *testing.T) {
	w := newWorld(t, &fake{}, full())
	w.in.table.Limit = 1
	h := w.background()
	w.call("spawn-background", reqAt, retAt)
	if w.failed("spawn-background", 4, int(host.RegistryFull)); w.f.got.Unread == nil || w.f.got.Cmd != "git" {
		t.Errorf("the host was told %+v", w.f.got)
	}
	w.call("attach", append(w.id(someID), retAt)...)
	if w.failed("attach", 4, int(host.RegistryFull)); w.f.called != nil {
		t.Error("the host was asked")
	}
	if err := w.try(".subscribe-exit", h); err == nil || !strings.Contains(err.Error(), "holds 1 handles and may hold no more") {
		t.Errorf("subscribe-exit: %v", err)
	}
}

// TestAnswersSurviveAGrowingMemory: each allocation of the answer may move all
// of the guest's memory.
func TestAnswersSurviveAGrowingMemory(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	f := &fake{chunk: host.Chunk{Data: []byte(big), Next: "token"}}
	for range 40 {
		f.infos = append(f.infos, host.Info{ID: someID, Label: big[:1<<19], Command: "git"})
	}
	w := newWorldOn(t, f, nil, newRuntime(t), process100)
	pages := w.mod.Memory().Size()
	w.call("read-since", append(w.idAt(4096), 0, 0, 0, 0, 3, retAt)...)
	if w.fine("read-since"); w.text(retAt+8) != big || w.text(retAt+20) != "token" {
		t.Error("the chunk is broken")
	}
	w.call("list-processes", 0, 0, 0, retAt)
	if w.fine("list-processes"); w.word(retAt+8) != 40 {
		t.Fatalf("%d processes", w.word(retAt+8))
	}
	if w.mod.Memory().Size() == pages {
		t.Error("the memory did not grow: this test shows nothing")
	}
	for i := range uint32(40) {
		if got := w.infoAt(w.word(retAt+4) + 128*i); got.ID != someID || got.Label != big[:1<<19] || got.Command != "git" {
			t.Errorf("process %d is broken", i)
		}
	}
}

// TestCallersKnowTheCancel: what works after a cancel is told of it, for where
// it would have to wait.
func TestCallersKnowTheCancel(t *testing.T) {
	w := newWorld(t, &fake{}, nil)
	w.stop()
	w.call("status", append(w.id(someID), retAt)...)
	w.fine("status")
	select {
	case <-w.f.caller.Soft:
	default:
		t.Error("the caller is not cancelled")
	}
}
