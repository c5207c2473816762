package main

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/astrid-os/processledger/guest/internal/mem"
	"github.com/astrid-os/processledger/guest/ipc"
	"github.com/astrid-os/processledger/guest/process"
	"github.com/astrid-os/processledger/guest/sys"
)

// litter is what the garbage of other goroutines ends up in.
var litter [300][]byte

// garbage calls the host with a heap that is as small as it can be, a garbage
// collection each time the host asks for memory, and goroutines that fill what
// was collected. What the host was told and what it answered must come through
// all of it.
func garbage() error {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1))
	mem.OnRealloc = func() {
		runtime.GC()
		spoil()
	}
	defer func() { mem.OnRealloc = nil }()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				spoil()
				runtime.Gosched()
			}
		}
	}()
	before := mem.Held()
	for _, f := range []func() error{spawns, messages, records} {
		if err := f(); err != nil {
			return err
		}
	}
	if n := mem.Held() - before; n != 0 {
		return fmt.Errorf("%d pieces of memory were given to the host and never taken back", n)
	}
	return nil
}

// spoil allocates and fills memory of many sizes: what was freed though it was
// in use is overwritten.
func spoil() {
	for i := range litter {
		litter[i] = bytes.Repeat([]byte{0xaa}, 1<<(3+i%10)+i%100)
	}
}

// spawns passes long requests and takes long results.
func spawns() error {
	for i := range 2 {
		in := strings.Repeat(fmt.Sprint("line ", i, "\n"), 500)
		r := process.Request{Cmd: "sh", Args: []string{"-c", `cat; printf '%s|' "$@" "$A" "$B" >&2; cat "$F" >&2`, "sh"}, Stdin: []byte(in)}
		want := ""
		for j := range 40 {
			r.Args = append(r.Args, fmt.Sprintf("argument %d of %d", j, i))
			want += r.Args[len(r.Args)-1] + "|"
		}
		r.Env = []process.Var{{Key: "A", Value: strings.Repeat("a", 100)}, {Key: "B", Value: "b"}}
		r.Files = []process.File{{Content: bytes.Repeat([]byte("f"), 3000), Env: "F"}}
		want += r.Env[0].Value + "|b|" + string(r.Files[0].Content)
		res, err := process.Spawn(r)
		if err != nil {
			return err
		}
		if res.Stdout != in || res.Stderr != want {
			return fmt.Errorf("%d and %d bytes came back as %d and %d", len(in), len(want), len(res.Stdout), len(res.Stderr))
		}
	}
	return nil
}

// records takes lists of records with strings in them.
func records() (err error) {
	ids := map[process.ID]string{}
	defer func() {
		for id := range ids {
			_, stopErr := id.StopWithin(0)
			err = errors.Join(err, stopErr)
		}
	}()
	for i := range 4 {
		label := fmt.Sprintf("garbage %d %s", i, strings.Repeat("x", 40))
		id, err := process.SpawnPersistent(process.Request{Cmd: "sleep", Args: []string{"600"}, Label: label})
		if err != nil {
			return err
		}
		ids[id] = label
	}
	for range 2 {
		all, err := process.List("garbage")
		if err != nil || len(all) != len(ids) {
			return fmt.Errorf("list has %d of %d: %w", len(all), len(ids), err)
		}
		for _, i := range all {
			if ids[i.ID] != i.Label || !strings.HasPrefix(i.Command, "sleep") {
				return fmt.Errorf("list: %+v", i)
			}
		}
	}
	return nil
}

// messages takes what is on the bus.
func messages() error {
	sub, err := ipc.Subscribe("selftest.v1.garbage.*")
	if err != nil {
		return err
	}
	defer sub.Drop()
	want := ""
	for i := range 20 {
		payload := fmt.Sprintf(`"%d %s"`, i, strings.Repeat("m", i*10))
		want += payload
		if err := ipc.Publish(fmt.Sprintf("selftest.v1.garbage.n%d", i), []byte(payload)); err != nil {
			return err
		}
	}
	e, err := sub.Poll()
	if err != nil {
		return err
	}
	got := ""
	for i, m := range e.Messages {
		got += string(m.Payload)
		if m.Topic != fmt.Sprintf("selftest.v1.garbage.n%d", i) {
			return fmt.Errorf("message %d is on %q", i, m.Topic)
		}
	}
	if got != want {
		return fmt.Errorf("%d bytes of messages came back as %d", len(want), len(got))
	}
	if caller, err := sys.Caller(); err != nil || caller.Principal != "alice" {
		return fmt.Errorf("caller %+v: %w", caller, err)
	}
	return nil
}
