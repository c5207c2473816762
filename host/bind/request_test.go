package bind

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	. "github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/ledger/event"
)

// offset returns where a record's field stands.
func offset(t *abi.Type, name string) uint32 {
	for _, f := range t.Fields() {
		if f.Name == name {
			return f.Offset
		}
	}
	panic(name)
}

// full is a spawn-request of 1.0.0 with everything in it.
func full() *Image { return fullOf(request100) }

// fullOf is a spawn-request of a revision with everything in it.
func fullOf(t *abi.Type) *Image {
	im := &Image{Base: reqAt}
	base := im.Alloc(t.Size(), t.Align())
	at := func(name string) uint32 { return base + offset(t, name) }
	im.Text(at("cmd"), "git")
	im.Texts(at("args"), "log", "", "--format=%h €")
	im.U8(at("stdin"), 1)
	im.Text(at("stdin")+4, "in\x00put\xff")
	env := im.Alloc(32, 4)
	im.U32(at("env"), env)
	im.U32(at("env")+4, 2)
	im.Text(env, "HOME")
	im.Text(env+8, "/w")
	im.Text(env+16, "EMPTY")
	im.Text(env+24, "")
	im.U8(at("cwd"), 1)
	im.Text(at("cwd")+4, "sub/dir")
	if !t.Has("limits") {
		return im
	}
	im.U8(at("limits"), 1)
	im.U8(at("limits")+8, 1)
	im.U64(at("limits")+16, 1<<33)
	im.U8(at("limits")+40, 1)
	im.U32(at("limits")+44, 17)
	im.U8(at("label"), 1)
	im.Text(at("label")+4, "label")
	im.U8(at("keep-stdin-open"), 1)
	im.U8(at("keep-stdin-open")+1, 200) // any non-zero value is true
	im.U8(at("overflow"), 1)
	im.U8(at("overflow")+1, 1)
	im.U8(at("log-ring-bytes"), 1)
	im.U32(at("log-ring-bytes")+4, 4096)
	im.U8(at("max-lifetime-ms"), 1)
	im.U64(at("max-lifetime-ms")+8, math.MaxUint64)
	im.U64(at("idle-timeout-ms")+8, 7) // of a none
	im.U8(at("exit-retention-ms"), 1)
	im.U64(at("exit-retention-ms")+8, 9)
	if t.Has("file-injections") {
		files := im.Alloc(40, 4)
		im.U32(at("file-injections"), files)
		im.U32(at("file-injections")+4, 2)
		im.Text(files, "rules\xff")
		im.Text(files+12, "POLICY_FILE")
		im.Text(files+20, "")
		im.U8(files+28, 1)
		im.Text(files+32, "/etc/rules")
	}
	return im
}

// wantFull is what the host gets of fullOf.
func wantFull(t *abi.Type) host.Request {
	want := host.Request{
		Cmd: "git", Args: []string{"log", "", "--format=%h €"},
		Stdin: []byte("in\x00put\xff"), HasStdin: true,
		Env: []host.EnvVar{{Key: "HOME", Value: "/w"}, {Key: "EMPTY"}},
		Cwd: ptr("sub/dir"),
	}
	if t.Has("limits") {
		want.Limits = &event.Limits{MemoryBytes: ptr[uint64](1 << 33), PIDs: ptr[uint32](17)}
		want.Label, want.KeepStdinOpen, want.Overflow, want.LogRingBytes = ptr("label"), ptr(true), ptr(host.Backpressure), ptr[uint32](4096)
		want.MaxLifetimeMS, want.ExitRetentionMS = ptr[uint64](math.MaxUint64), ptr[uint64](9)
	}
	if t.Has("file-injections") {
		want.Files = []host.FileInjection{{Content: []byte("rules\xff"), EnvKey: ptr("POLICY_FILE")}, {Content: []byte{}, Path: ptr("/etc/rules")}}
	}
	return want
}

// TestEveryRevisionLiftsEverything: each spawn of each revision hands over the
// whole request.
func TestEveryRevisionLiftsEverything(t *testing.T) {
	r := newRuntime(t)
	for module, of := range map[string]*abi.Type{process07: request07, process100: request100, process110: request110} {
		for _, name := range []string{"spawn", "spawn-background", "spawn-persistent"} {
			if of == request07 && name == "spawn-persistent" {
				continue // that came later
			}
			w := newWorldOn(t, &fake{result: &host.Result{}}, fullOf(of), r, module)
			args := []uint64{0xdead_beef_0000_0000 | reqAt, 0xffff_ffff_0000_0000 | retAt}
			if of == request07 {
				args = w.flat(of, retAt)
			}
			w.call(name, args...)
			w.fine(name)
			if d := cmp.Diff(wantFull(of), w.f.got, cmpopts.IgnoreUnexported(event.Limits{})); d != "" {
				t.Errorf("%s of %s (-want +got):\n%s", name, module, d)
			}
			if w.f.caller.Principal != "alice" || w.f.caller.CallID != "c1" {
				t.Errorf("caller %+v", w.f.caller)
			}
		}
	}
}

// flat reads a request in the memory as flat parameters, with the return
// pointer behind them: all of it is words, or options of words.
func (w *world) flat(t *abi.Type, ret uint64) (args []uint64) {
	const garbage = 0xabad_cafe_0000_0000
	for _, f := range t.Fields() {
		for n := uint32(0); n < f.Type.Size(); n += 4 {
			v := uint64(w.word(reqAt + f.Offset + n))
			if n == 0 && f.Type.Kind() == abi.KindVariant {
				v = uint64(w.byte(reqAt + f.Offset))
			}
			args = append(args, garbage|v)
		}
	}
	return append(args, garbage|ret)
}

// TestBeyondABoundIsToldAndNotCopied: the host is told of a request that is
// beyond a bound what it needs for the record, and what to refuse it with; what
// just fits goes through.
func TestBeyondABoundIsToldAndNotCopied(t *testing.T) {
	const far = 1 << 20 // where long things stand: zeros, which are empty strings too
	blank := func() *Image { im := &Image{Base: reqAt}; im.Alloc(184, 8); return im }
	at := func(name string) uint32 { return reqAt + offset(request110, name) }
	list := func(field string, p, n uint32) func(*Image) {
		return func(im *Image) { im.U32(at(field), p); im.U32(at(field)+4, n) }
	}
	option := func(field string, p, n uint32) func(*Image) {
		return func(im *Image) { im.U8(at(field), 1); im.U32(at(field)+4, p); im.U32(at(field)+8, n) }
	}
	oneOf := func(field string, size, off, n uint32) func(*Image) { // one element with a long part
		return func(im *Image) {
			e := im.Alloc(size, 4)
			im.U32(e+off, far)
			im.U32(e+off+4, n)
			list(field, e, 1)(im)
		}
	}
	filesOf := func(count, n uint32) func(*Image) {
		return func(im *Image) {
			e := im.Alloc(20*count, 4)
			for i := range count {
				im.U32(e+20*i, far)
				im.U32(e+20*i+4, n)
			}
			list("file-injections", e, count)(im)
		}
	}
	const through = 255
	for name, c := range map[string]struct {
		set  func(*Image)
		code host.Code
		want host.Unread
	}{
		"longest command":   {list("cmd", far, 4096), through, host.Unread{}},
		"too long command":  {list("cmd", far, 4097), host.InvalidInput, host.Unread{}},
		"most args":         {list("args", far, 4096), through, host.Unread{}},
		"too many args":     {list("args", far, 4097), host.InvalidInput, host.Unread{ArgsCount: 4097}},
		"a million args":    {list("args", far, 1<<20), host.InvalidInput, host.Unread{ArgsCount: 1 << 20}},
		"longest args":      {oneOf("args", 8, 0, 1<<20), through, host.Unread{}},
		"too long args":     {oneOf("args", 8, 0, 1<<20+1), host.InvalidInput, host.Unread{ArgsCount: 1, ArgsBytes: 1<<20 + 1}},
		"longest stdin":     {option("stdin", far, 4<<20), through, host.Unread{}},
		"too long stdin":    {option("stdin", far, 4<<20+1), host.TooLarge, host.Unread{StdinBytes: 4<<20 + 1}},
		"most env":          {list("env", far, 256), through, host.Unread{}},
		"too much env":      {list("env", far, 257), host.TooLarge, host.Unread{}},
		"longest value":     {oneOf("env", 16, 8, 64<<10), through, host.Unread{}},
		"too long value":    {oneOf("env", 16, 8, 64<<10+1), host.TooLarge, host.Unread{}},
		"too long key":      {oneOf("env", 16, 0, 4<<10+1), host.InvalidInput, host.Unread{}},
		"longest directory": {option("cwd", far, 4096), through, host.Unread{}},
		"too long dir":      {option("cwd", far, 4097), host.InvalidInput, host.Unread{}},
		"long label":        {option("label", far, 1<<20), through, host.Unread{}},
		"most files":        {filesOf(128, 0), through, host.Unread{}},
		"too many files":    {filesOf(129, 0), host.TooLarge, host.Unread{}},
		"longest file":      {oneOf("file-injections", 20, 0, 8<<20), through, host.Unread{}},
		"too long file":     {oneOf("file-injections", 20, 0, 8<<20+1), host.TooLarge, host.Unread{}},
		"too long files":    {filesOf(3, 6<<20), host.TooLarge, host.Unread{}},
		"too long path":     {oneOf("file-injections", 20, 12, 4097), host.InvalidInput, host.Unread{}},
	} {
		t.Run(name, func(t *testing.T) {
			im := blank()
			c.set(im)
			for _, fn := range []string{"spawn", "spawn-background", "spawn-persistent"} {
				w := newWorldOn(t, &fake{result: &host.Result{}}, im, newRuntime(t), process110)
				w.call(fn, reqAt, retAt)
				if w.f.caller.Principal == "" {
					t.Fatalf("%s: the host was not told", fn)
				}
				if c.code == through {
					if w.f.got.Unread != nil {
						t.Errorf("%s: refused: %v", fn, w.f.got.Unread.Refusal)
					}
					continue
				}
				w.failed(fn, 4, int(c.code))
				if w.f.got.Unread == nil {
					t.Fatalf("%s: let through", fn)
				}
				got := *w.f.got.Unread
				got.Refusal = nil
				if got != c.want || len(w.f.got.Stdin) > 0 || len(w.f.got.Files) > 0 && strings.HasSuffix(name, "files") {
					t.Errorf("%s: %+v, want %+v", fn, got, c.want)
				}
			}
		})
	}
}

// TestLongArgumentsAreKeptInPart: what a refusal is recorded with.
func TestLongArgumentsAreKeptInPart(t *testing.T) {
	im := &Image{Base: reqAt}
	at := im.Alloc(176, 8)
	im.Texts(at+8, "first", strings.Repeat("é", 1<<15), "third", strings.Repeat("x", 1<<20))
	w := newWorldOn(t, &fake{}, im, newRuntime(t), process100)
	w.call("spawn", reqAt, retAt)
	w.failed("spawn", 4, int(host.InvalidInput))
	args := w.f.got.Args
	if len(args) < 2 || args[0] != "first" || !strings.HasPrefix(args[1], "é") || len(strings.Join(args, "")) > keptArgs {
		t.Errorf("%d arguments, the first %q", len(args), args[0])
	}
	if want := (host.Unread{ArgsCount: 4, ArgsBytes: 5 + 1<<16 + 5 + 1<<20}); w.f.got.Unread.ArgsCount != want.ArgsCount || w.f.got.Unread.ArgsBytes != want.ArgsBytes {
		t.Errorf("%+v, want %+v", w.f.got.Unread, want)
	}
}
