package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/astrid-os/processledger/guest/process"
)

// persistent tries what can be done with an id.
func persistent() error {
	var c checks
	r := process.Request{
		Cmd: "cat", Label: "selftest cat", KeepStdinOpen: true, Stdin: []byte("prelude "), RingBytes: 8192,
		Lifetime: time.Hour, Idle: time.Minute, Retention: time.Minute,
	}
	id, err := process.SpawnPersistent(r)
	if err != nil {
		return err
	}
	c.that(len(id) == 52, "the id is %q", id)
	_, err = fmt.Fprint(id.Stdin(), "written\n")
	c.no(err, "write-stdin")
	chunk, err := id.Tail(process.Stdout, "").Next(5)
	c.that(err == nil && string(chunk.Data) == "prelu" && chunk.Next != "", "tail: %+v, %v", chunk, err)
	line, err := bufio.NewReader(id.Tail(process.Stdout, chunk.Next)).ReadString('\n')
	c.that(err == nil && line == "de written\n", "tail from a cursor: %q, %v", line, err)
	_, err = id.ReadSince(process.Stderr, chunk.Next, 1)
	c.that(errors.Is(err, process.ErrNoSuchProcess), "another stream's cursor: %v", err)

	i, err := id.Status()
	c.that(err == nil && i.ID == id && i.Label == "selftest cat" && i.Phase == process.Running && i.OSPid > 0 && i.StdinOpen && i.Exit == nil, "status: %+v, %v", i, err)
	c.that(i.Buffered == uint64(len("prelude written\n")) && i.Dropped == 0, "status of output: %+v", i)
	all, err := process.List("selftest")
	c.that(err == nil && len(all) == 1 && all[0].ID == id, "list: %+v, %v", all, err)
	none, err := process.List("nobody")
	c.that(err == nil && len(none) == 0, "list of nothing: %+v, %v", none, err)
	many, err := process.StatusMany(id, "unknown", id)
	c.that(err == nil && len(many) >= 1 && many[0].ID == id, "status-many: %+v, %v", many, err)

	c.attached(id)
	c.no(id.Release(), "release of an id that is gone")
	_, err = id.Status()
	c.that(errors.Is(err, process.ErrNoSuchProcess), "status of what was stopped: %v", err)
	c.ended()
	return c.err()
}

// attached tries a handle of a persistent process, and stops it.
func (c *checks) attached(id process.ID) {
	h, err := id.Attach()
	if err != nil {
		c.no(err, "attach")
		return
	}
	_, err = h.WaitFor(time.Millisecond)
	c.that(errors.Is(err, process.ErrWaitTimeout), "wait of what runs: %v", err)
	logs, err := h.ReadLogs()
	c.that(err == nil && logs.Stdout == "prelude written\n" && logs.Running, "read-logs of a handle: %+v, %v", logs, err)
	logs, err = id.ReadLogs()
	c.that(err == nil && logs.Stdout == "" && logs.Running, "read-logs of what was drained: %+v, %v", logs, err)
	n, err := h.WriteStdin([]byte("more"))
	c.that(n == 4 && err == nil, "write-stdin of a handle: %d, %v", n, err)
	h.Drop()
	c.that(errors.Is(id.Release(), process.ErrInvalid), "release of what runs")
	exit, err := id.StopWithin(10 * time.Second)
	c.that(err == nil && exit.Signal != nil && *exit.Signal == 15, "stop: %s, %v", exit, err)
}

// ended tries what is left of a process that has ended of itself.
func (c *checks) ended() {
	id, err := process.SpawnPersistent(process.Request{Cmd: "sh", Args: []string{"-c", "cat; exit 4"}, KeepStdinOpen: true})
	if err != nil {
		c.no(err, "spawn-persistent")
		return
	}
	long := strings.Repeat("0123456789abcdef", 40_000) // more than a pipe holds
	_, err = io.WriteString(id.Stdin(), long)
	c.no(err, "a long write-stdin")
	c.no(id.CloseStdin(), "close-stdin")
	text, err := io.ReadAll(id.Tail(process.Stdout, ""))
	c.that(err == nil && string(text) == long, "the long text came back as %d bytes of %d: %v", len(text), len(long), err)
	exit, err := id.Wait()
	c.that(err == nil && exit.String() == "exit status 4", "wait: %s, %v", exit, err)
	_, err = id.WriteStdin([]byte("x"))
	c.that(errors.Is(err, process.ErrClosed), "write-stdin after the end: %v", err)
	c.no(id.Release(), "release")
	_, err = id.WaitFor(0)
	c.that(errors.Is(err, process.ErrNoSuchProcess), "wait of what was released: %v", err)
}
