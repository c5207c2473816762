//go:build wasip1

// Command driver is the capsule of the daemon's tests: each action is a list of
// calls of the process host, as JSON, and the answer is what they returned.
//
// It speaks the canonical ABI by hand, apart from any SDK, so that a test that
// fails here fails for the host's sake.
package main

import (
	"encoding/binary"
	"encoding/json"
	"unsafe"
)

// step is one call.
type step struct {
	Op     string   `json:"op"`   // spawn, background, wait, kill, signal, drop
	Name   string   `json:"name"` // of the handle, for all but spawn
	Cmd    string   `json:"cmd"`
	Args   []string `json:"args"`
	MS     *uint64  `json:"ms"`     // wait: timeout
	Signal uint32   `json:"signal"` // the contract's discriminant
}

// outcome is what one call returned.
type outcome struct {
	Err    string `json:"err,omitempty"` // the contract's name of the error
	Text   string `json:"text,omitempty"`
	Code   *int32 `json:"code,omitempty"`
	Signal *int32 `json:"signal,omitempty"`
	Stdout string `json:"stdout,omitempty"`
}

var handles = map[string]uint32{}

func run(payload []byte) []byte {
	var in struct {
		Steps []step `json:"steps"`
	}
	var out struct {
		Outcomes []outcome `json:"outcomes"`
	}
	if err := json.Unmarshal(payload, &in); err != nil {
		out.Outcomes = []outcome{{Err: err.Error()}}
	}
	for _, s := range in.Steps {
		out.Outcomes = append(out.Outcomes, do(s))
	}
	b, _ := json.Marshal(out)
	return b
}

func do(s step) outcome {
	ret := block(64)
	switch s.Op {
	case "spawn":
		spawn(addr(request(s)), addr(ret))
		return ret.result(func(o *outcome) { o.Stdout = ret.text(4); ret.exit(20, o) })
	case "background":
		spawnBackground(addr(request(s)), addr(ret))
		return ret.result(func(*outcome) { handles[s.Name] = ret.u32(4) })
	case "wait":
		some, ms := uint32(0), uint64(0)
		if s.MS != nil {
			some, ms = 1, *s.MS
		}
		wait(handles[s.Name], some, ms, addr(ret))
		return ret.result(func(o *outcome) { ret.exit(4, o) })
	case "kill":
		kill(handles[s.Name], addr(ret))
		return ret.result(func(o *outcome) {
			if ret[8] != 0 {
				ret.exit(12, o)
			}
		})
	case "signal":
		signal(handles[s.Name], s.Signal, addr(ret))
		return ret.result(func(*outcome) {})
	case "drop":
		drop(handles[s.Name])
		delete(handles, s.Name)
		return outcome{}
	}
	return outcome{Err: "no such op: " + s.Op}
}

// mem is a piece of memory that the host reads or fills.
type mem []byte

func block(n int) mem { return unsafe.Slice((*byte)(unsafe.Pointer(&make([]uint64, (n+7)/8)[0])), n) }

func addr(m mem) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(m)) }

func (m mem) u32(at int) uint32    { return binary.LittleEndian.Uint32(m[at:]) }
func (m mem) put(at int, v uint32) { binary.LittleEndian.PutUint32(m[at:], v) }
func (m mem) list(at int, b mem, n int) {
	if n > 0 {
		m.put(at, uint32(uintptr(addr(b))))
	} else {
		m.put(at, 8) // aligned for anything
	}
	m.put(at+4, uint32(n))
}

// text is a string that the host wrote into memory of ours.
func (m mem) text(at int) string {
	n := m.u32(at + 4)
	if n == 0 {
		return ""
	}
	return unsafe.String((*byte)(unsafe.Pointer(uintptr(m.u32(at)))), n)
}

func (m mem) exit(at int, o *outcome) {
	if m[at] != 0 {
		v := int32(m.u32(at + 4))
		o.Code = &v
	}
	if m[at+8] != 0 {
		v := int32(m.u32(at + 12))
		o.Signal = &v
	}
}

var codes = []string{
	"capability-denied", "invalid-input", "boundary-escape", "quota", "too-large", "closed",
	"cancelled", "wait-timeout", "no-such-process", "registry-full", "persist-unsupported", "unknown",
}

// result reads a result<_, error-code>.
func (m mem) result(ok func(*outcome)) (o outcome) {
	if m[0] == 0 {
		ok(&o)
		return o
	}
	o.Err = codes[m[4]]
	if m[4] == 11 {
		o.Text = m.text(8)
	}
	return o
}

// request lays out a spawn-request of 176 bytes; what it does not set is none.
func request(s step) mem {
	r := block(176)
	cmd := mem(s.Cmd)
	r.list(0, cmd, len(cmd))
	args := block(8 * max(1, len(s.Args)))
	for i, a := range s.Args {
		args.list(8*i, mem(a), len(a))
	}
	r.list(8, args, len(s.Args))
	r.list(28, nil, 0)
	kept = append(kept[:0], cmd, args, r)
	keptArgs = s.Args
	return r
}

// kept holds on to what a request points to until the next one.
var (
	kept     []mem
	keptArgs []string
)

//go:wasmimport astrid:process/host@1.0.0 spawn
func spawn(req, ret unsafe.Pointer)

//go:wasmimport astrid:process/host@1.0.0 spawn-background
func spawnBackground(req, ret unsafe.Pointer)

//go:wasmimport astrid:process/host@1.0.0 [method]process-handle.wait
func wait(h uint32, some uint32, ms uint64, ret unsafe.Pointer)

//go:wasmimport astrid:process/host@1.0.0 [method]process-handle.kill
func kill(h uint32, ret unsafe.Pointer)

//go:wasmimport astrid:process/host@1.0.0 [method]process-handle.signal
func signal(h uint32, sig uint32, ret unsafe.Pointer)

//go:wasmimport astrid:process/host@1.0.0 [resource-drop]process-handle
func drop(h uint32)

// allocated is what cabi_realloc gave out and the guest has not lifted yet.
var allocated = map[uint32]mem{}

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	m := block(int(max(size, 1)))
	copy(m, unsafe.Slice((*byte)(old), oldSize))
	allocated[uint32(uintptr(addr(m)))] = m
	return addr(m)
}

var answer, answerData, answerAction mem

//go:wasmexport astrid-hook-trigger
func hook(action unsafe.Pointer, actionLen uint32, payload unsafe.Pointer, payloadLen uint32) unsafe.Pointer {
	in := append([]byte(nil), unsafe.Slice((*byte)(payload), payloadLen)...)
	answerAction, answerData, answer = mem("final"), mem(run(in)), block(20)
	clear(allocated)
	answer.list(0, answerAction, len(answerAction))
	answer.put(8, 1)
	answer.list(12, answerData, len(answerData))
	return addr(answer)
}

func main() {}
