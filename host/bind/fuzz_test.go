package bind

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/ledger/event"
)

// vandal is a guest without a guest: a memory of any contents, and a
// cabi_realloc that does as the fuzzer likes.
type vandal struct {
	mem    []byte
	script []byte   // what cabi_realloc does next, a byte a call, over and over
	calls  int      // of cabi_realloc
	next   uint32   // where an honest one goes on
	handed [][2]int // what it handed out: [from, to)
}

// module, memory and realloc are a vandal as wazero's interfaces; what is
// embedded is not called.
type module struct {
	api.Module
	v *vandal
}

func (m module) Memory() api.Memory                   { return memory{nil, m.v} }
func (m module) ExportedFunction(string) api.Function { return realloc{nil, m.v} }

type memory struct {
	api.Memory
	v *vandal
}

func (m memory) Size() uint32 { return uint32(len(m.v.mem)) }

func (m memory) Read(at, n uint32) ([]byte, bool) {
	if uint64(at)+uint64(n) > uint64(len(m.v.mem)) {
		return nil, false
	}
	return m.v.mem[at : at+n : at+n], true
}

type realloc struct {
	api.Function
	v *vandal
}

var errGuest = errors.New("wasm error: unreachable")

// CallWithStack answers one call. Whatever it does, the memory is another one
// afterwards, so that who holds on to a view of it writes into nothing.
func (r realloc) CallWithStack(_ context.Context, stack []uint64) error {
	v := r.v
	align, size := uint32(stack[2]), uint32(stack[3])
	do := byte(0)
	if len(v.script) > 0 {
		do = v.script[v.calls%len(v.script)]
	}
	v.calls++
	v.mem = slices.Clone(v.mem)
	at := (v.next + align - 1) &^ (align - 1)
	switch do % 8 {
	case 1:
		return errGuest
	case 2:
		at = uint32(do) * 0x01010101
	case 3:
		at = uint32(len(v.mem)) - size + 1 // ends one behind the memory
	case 4:
		at = -size // wraps around
	case 5:
		at++
	case 6:
		at = 0
	}
	if do%8 == 0 { // an honest one, which grows the memory as needed
		for uint64(at)+uint64(size) > uint64(len(v.mem)) && len(v.mem) < 1<<20 {
			v.mem = append(v.mem, make([]byte, 1<<16)...)
		}
		v.next = at + size
	}
	v.handed = append(v.handed, [2]int{int(at), int(at) + int(size)})
	stack[0] = 0xdead_beef_0000_0000 | uint64(at)
	return nil
}

// everyFunction returns the functions of all revisions.
func everyFunction() (all []function) {
	for _, rev := range revisions {
		all = append(all, rev.funcs...)
	}
	return all
}

// richFake answers with something of everything, made from out.
func richFake(out []byte) *fake {
	exit := event.Exit{Code: ptr[int32](-1), Signal: ptr[int32](9)}
	text := string(out)
	info := host.Info{ID: lossy(out), Label: text, Command: text, OSPid: ptr[uint32](7), Phase: host.Exited, Exit: &exit, CPU: ptr(time.Second), MemPeak: ptr[uint64](1)}
	f := &fake{
		result: &host.Result{Stdout: out, Stderr: out, Exit: exit},
		logs:   host.Logs{Stdout: out, Exit: &exit}, exit: exit,
		killed: host.KillResult{Killed: true, Exit: &exit, Stderr: out},
		info:   info, infos: []host.Info{info, info, {}},
		chunk:  host.Chunk{Data: out, Next: lossy(out)},
		config: map[string]string{"": text},
	}
	if len(out) > 0 && out[0]%4 == 0 {
		f.err = &host.Error{Code: host.Code(out[0] / 4 % 14), Detail: text}
	}
	f.over.raise()
	return f
}

// fuzzed is an instance with a handle of every resource: 1, 2, 3, …
func fuzzed(f *fake) (*Instance, *ipc.Bus) {
	bus := ipc.New(ipc.Options{})
	in := NewInstance(Services{Processes: f, System: f, Bus: bus, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	soft, cancel := context.WithCancel(context.Background())
	cancel() // nothing is to block
	in.Begin(soft, host.Caller{Principal: "alice", Capsule: "builder"})
	seen := map[*abi.Resource]bool{}
	for _, fn := range everyFunction() {
		for _, p := range fn.Named() {
			r := p.Type.Resource()
			if r == nil || seen[r] {
				continue
			}
			seen[r] = true
			switch r {
			case pollable:
				in.table.Add(r, &polled{source: &f.over})
			case subscription:
				s, _ := bus.Subscribe("", "a.*")
				in.table.Add(r, &subscribed{Subscription: s})
			default:
				in.table.Add(r, &handle{Process: f})
			}
		}
	}
	return in, bus
}

// hostileCall is a call with any parameters on any memory, with an allocator
// that does anything, and any answer of the host's.
type hostileCall struct {
	fn                       function
	params, mem, script, out []byte
}

// try makes the call: the guest traps or gets an answer, nothing else panics,
// nothing is written but where the result goes and what was allocated, and the
// host allocates no more than the guest has.
func (c hostileCall) try(t *testing.T) {
	t.Helper()
	v := &vandal{mem: slices.Clone(c.mem), script: c.script, next: uint32(len(c.mem)) / 2}
	stack := stackOf(c.fn, c.params)
	before := slices.Clone(stack)
	in, bus := fuzzed(richFake(c.out))
	defer bus.Close()
	defer in.Close()
	spent := allocated(func() { v.run(t, in, c.fn, stack) })
	// The values themselves, their copies on the way, and the host's own.
	if most := 8*uint64(len(c.mem)) + 64*uint64(len(c.out)) + 1<<20; spent > most {
		t.Errorf("%s allocated %d bytes for a memory of %d", c.fn.Name, spent, len(c.mem))
	}
	v.untouched(t, c.fn, c.mem, before)
}

// FuzzCalls makes hostile calls of any function of any revision.
func FuzzCalls(f *testing.F) {
	all := everyFunction()
	for i, fn := range all {
		c := hostileCalls(fn)[0]
		f.Add(uint16(i), c.params, c.mem, c.script, c.out)
	}
	f.Fuzz(func(t *testing.T, which uint16, params, mem, script, out []byte) {
		if len(mem) <= 1<<18 && len(out) <= 1<<12 {
			hostileCall{all[int(which)%len(all)], params, mem, script, out}.try(t)
		}
	})
}

func TestHostileCallsOfEveryFunction(t *testing.T) {
	for _, fn := range everyFunction() {
		for _, c := range hostileCalls(fn) {
			c.try(t)
		}
	}
}

// TestHostileCallsOfARealGuest: the same through wazero, with an allocator that
// grows the memory. A trap ends the call and nothing else.
func TestHostileCallsOfARealGuest(t *testing.T) {
	r := newRuntime(t)
	for _, rev := range revisions {
		m := guestOf(rev.module)
		m.Memory(2, 0)
		linked, err := Link(r, m.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		mod, err := r.InstantiateWithConfig(t.Context(), linked, anonymous)
		if err != nil {
			t.Fatal(err)
		}
		for _, fn := range rev.funcs {
			for _, c := range hostileCalls(fn) {
				var log bytes.Buffer
				in, bus := fuzzed(richFake(c.out))
				in.log = slog.New(slog.NewTextHandler(&log, nil))
				mod.Memory().Write(0, c.mem)
				mod.Memory().WriteUint32Le(16, heapAt)
				params, _ := fn.Core()
				_, err := mod.ExportedFunction(short(fn.Name)).Call(in.With(t.Context()), stackOf(fn, c.params)[:len(params)]...)
				if err != nil && strings.Contains(err.Error(), "runtime error") || strings.Contains(log.String(), "panicked") {
					t.Errorf("%s: %v\n%s", fn.Name, err, &log)
				}
				in.Close()
				bus.Close()
			}
		}
	}
}

// run calls a function and lets nothing through but a trap.
func (v *vandal) run(t *testing.T, in *Instance, fn function, stack []uint64) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(*abi.Trap); !ok {
				t.Errorf("%s: panic: %v", fn.Name, r)
			}
		}
	}()
	fn.serve()(in.With(context.Background()), module{nil, v}, stack)
}

// untouched checks that nothing was written but what is the guest's to give.
func (v *vandal) untouched(t *testing.T, fn function, mem []byte, stack []uint64) {
	t.Helper()
	if params, _ := fn.Core(); fn.Result() != nil && len(fn.Result().Flat()) > 1 {
		at := int(uint32(stack[len(params)-1]))
		v.handed = append(v.handed, [2]int{at, at + int(fn.Result().Size())})
	}
	got := slices.Clone(v.mem[:len(mem)])
	for _, r := range v.handed {
		if from, to := min(r[0], len(mem)), min(r[1], len(mem)); from < to {
			copy(got[from:to], mem[from:to])
		}
	}
	if !bytes.Equal(got, mem) {
		t.Errorf("%s wrote where nothing was allocated", fn.Name)
	}
}

func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// stackOf makes wazero's stack from the fuzzer's bytes: the slots of 32 bits are
// given garbage in their upper halves.
func stackOf(fn function, b []byte) []uint64 {
	params, results := fn.Core()
	stack := make([]uint64, max(len(params), len(results)))
	for i := range params {
		var w [8]byte
		copy(w[:], b[min(len(b), 8*i):])
		stack[i] = binary.LittleEndian.Uint64(w[:])
		if params[i] == api.ValueTypeI32 {
			stack[i] |= 0xbad0_0000_0000_0000
		}
	}
	return stack
}

// hostileCalls are, for one function, a good call first, then others with each
// kind of bad allocator, with bad pointers, and with one that names the same
// bytes over and over.
func hostileCalls(fn function) (all []hostileCall) {
	im := fullOf(request110)
	for _, p := range fn.Named() {
		if p.Type.Has("cmd") {
			im = fullOf(p.Type)
		}
	}
	mem := append(make([]byte, reqAt), im.Bytes()...)
	mem = append(mem, make([]byte, 1<<14-len(mem))...)
	params, _ := fn.Core()
	for _, word := range []uint64{reqAt, 1, 2, 3, 4, 5, 8, 0xffff_fff8, 1 << 20} {
		stack := slices.Repeat([]uint64{word}, len(params))
		if len(stack) > 0 {
			stack[len(stack)-1] = 1 << 13 // the return pointer, mostly
		}
		all = append(all, hostileCall{fn, words(stack...), mem, []byte{0}, []byte("out\xff")})
		for do := range byte(8) {
			all = append(all, hostileCall{fn, words(stack...), mem, []byte{0, do, 0}, []byte{4 * 11, 'x'}})
		}
	}
	return append(all,
		hostileCall{fn, bytes.Repeat([]byte{0xff}, 8*len(params)), mem[:64], []byte{2}, nil},
		hostileCall{fn, words(reqAt, 1<<13), manyNames(mem), []byte{0}, nil})
}

func words(all ...uint64) (b []byte) {
	for _, w := range all {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// manyNames turns the request in a memory into one whose variables all name the
// same bytes, as many as there are.
func manyNames(mem []byte) []byte {
	mem = slices.Clone(mem)
	const list = 1 << 11
	for i := range 256 {
		copy(mem[list+16*i:], words(4<<32|1<<13, 7<<42|1<<13))
	}
	copy(mem[reqAt+28:], words(256<<32|list))
	return mem
}
