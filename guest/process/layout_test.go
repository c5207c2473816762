//go:build !wasip1

package process

import (
	"testing"
	"time"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// TestRequestLayout holds the offsets by which the host reads a request; that
// it does read it is tested on the host's side.
func TestRequestLayout(t *testing.T) {
	r := Request{
		Cmd: "git", Args: []string{"log", "-1"}, Stdin: []byte{}, Env: []Var{{"K", "V"}}, Dir: "sub",
		Limits: &Limits{MemoryBytes: 1 << 33, Processes: 9},
		Files:  []File{{Content: []byte("one"), Env: "E"}, {Content: []byte("two"), Path: "/p"}},
		Label:  "name", KeepStdinOpen: true, Overflow: Backpressure, RingBytes: 4096,
		Lifetime: time.Hour, Idle: time.Microsecond, Retention: 1500 * time.Microsecond,
	}
	v := r.lower().View()
	if len(v) != 184 || v.Text(0) != "git" || v.Text(40) != "sub" || v.Text(116) != "name" {
		t.Error("command, directory or label")
	}
	args := v.List(8, 8)
	if len(args) != 2 || args[0].Text(0) != "log" || args[1].Text(0) != "-1" {
		t.Error("arguments")
	}
	env := v.List(28, 16)
	if len(env) != 1 || env[0].Text(0) != "K" || env[0].Text(8) != "V" {
		t.Error("environment")
	}
	if v.U8(16) != 1 || v.U32(24) != 0 || v.U8(36) != 1 || v.U8(112) != 1 {
		t.Error("stdin, or the tags of directory and label")
	}
	if v.U8(48) != 1 || v.U8(56) != 1 || v.U64(64) != 1<<33 || v.U8(72) != 0 || v.U8(88) != 1 || v.U32(92) != 9 || v.U8(96) != 0 {
		t.Error("limits")
	}
	files := v.List(104, 20)
	if len(files) != 2 || files[0].Text(0) != "one" || files[0].U8(8) != 0 || files[0].Text(12) != "E" ||
		files[1].Text(0) != "two" || files[1].U8(8) != 1 || files[1].Text(12) != "/p" {
		t.Error("files")
	}
	if v.U8(124) != 1 || v.U8(125) != 1 || v.U8(126) != 1 || v.U8(127) != 1 || v.U8(128) != 1 || v.U32(132) != 4096 {
		t.Error("stdin kept open, overflow or ring")
	}
	if v.U8(136) != 1 || v.U64(144) != 3_600_000 || v.U8(152) != 1 || v.U64(160) != 1 || v.U8(168) != 1 || v.U64(176) != 2 {
		t.Error("times")
	}
}

func TestRequestOfNothing(t *testing.T) {
	v := (&Request{Cmd: "x"}).lower().View()
	for _, tag := range []uint32{16, 36, 48, 112, 124, 126, 128, 136, 152, 168} {
		if v.U8(tag) != 0 {
			t.Errorf("the option at %d is there, and was not asked for", tag)
		}
	}
	for _, list := range []uint32{8, 28, 104} {
		if v.U32(list)%4 != 0 || v.U32(list+4) != 0 {
			t.Errorf("the list at %d is not empty", list)
		}
	}
}

// TestInfoLayout holds the offsets by which the SDK reads what the host tells.
func TestInfoLayout(t *testing.T) {
	k := mem.NewBlock(2 * infoSize)
	mem.Give(k, 0, []byte("id"))
	mem.Give(k, 8, []byte("label"))
	mem.Give(k, 16, []byte("cmd"))
	k.MaybeU32(24, 77)
	k.U8(32, uint8(Exited))
	k.U8(36, 1)
	k.U8(40, 1)
	k.U32(44, 3)
	k.U64(56, 1500)
	k.U64(64, 2)
	k.U64(72, 10)
	k.U64(80, 11)
	k.U8(88, 1)
	k.MaybeU64(96, 4)
	k.MaybeU64(112, 1<<40)
	list := mem.NewBlock(16)
	mem.Give(list, 4, k.View())
	list.U32(8, 2)
	all := liftInfos(list.View(), 4)
	if len(all) != 2 {
		t.Fatalf("%d infos", len(all))
	}
	i := all[0]
	if i.ID != "id" || i.Label != "label" || i.Command != "cmd" || i.OSPid != 77 || i.Phase != Exited || i.Exit == nil || *i.Exit.Code != 3 || i.Exit.Signal != nil {
		t.Errorf("%+v", i)
	}
	if i.Age != 1500*time.Millisecond || i.Idle != 2*time.Millisecond || i.Buffered != 10 || i.Dropped != 11 || !i.StdinOpen || *i.CPU != 4*time.Millisecond || *i.MemoryPeak != 1<<40 {
		t.Errorf("%+v", i)
	}
	if i := all[1]; i.OSPid != 0 || i.Exit != nil || i.CPU != nil || i.MemoryPeak != nil || i.StdinOpen || i.Phase != Starting {
		t.Errorf("nothing is %+v", i)
	}
}

func TestResultLayouts(t *testing.T) {
	k := mem.NewBlock(48)
	mem.Give(k, 4, []byte("out"))
	mem.Give(k, 12, []byte("err"))
	k.U8(28, 1)
	k.U32(32, 9)
	if r := liftResult(k.View(), 4); r.Stdout != "out" || r.Stderr != "err" || r.Exit.Code != nil || *r.Exit.Signal != 9 {
		t.Errorf("process-result %+v", r)
	}
	k = mem.NewBlock(44)
	mem.Give(k, 4, []byte("out"))
	mem.Give(k, 12, []byte("err"))
	k.U8(20, 1)
	k.U8(24, 1)
	k.U8(28, 1)
	if l := liftLogs(k.View(), 4); l.Stdout != "out" || l.Stderr != "err" || !l.Running || !l.Exit.Success() {
		t.Errorf("read-logs-result %+v", l)
	}
	k = mem.NewBlock(44)
	k.U8(4, 1)
	k.U8(8, 1)
	k.U8(20, 1)
	k.U32(24, 9)
	mem.Give(k, 28, []byte("out"))
	mem.Give(k, 36, []byte("err"))
	if d := liftKilled(k.View(), 4); !d.Killed || *d.Exit.Signal != 9 || d.Stdout != "out" || d.Stderr != "err" {
		t.Errorf("kill-result %+v", d)
	}
	k = mem.NewBlock(48)
	mem.Give(k, 8, []byte{0xff, 0})
	k.U8(16, 1)
	mem.Give(k, 20, []byte("cursor"))
	k.U64(32, 5)
	k.U8(40, 1)
	if c := liftChunk(k.View(), 8); string(c.Data) != "\xff\x00" || c.Next != "cursor" || c.Dropped != 5 || !c.EOF {
		t.Errorf("log-chunk %+v", c)
	}
}
