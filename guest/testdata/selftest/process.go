package main

import (
	"errors"
	"strings"
	"time"

	"github.com/astrid-os/processledger/guest/poll"
	"github.com/astrid-os/processledger/guest/process"
)

func sh(script string) process.Request {
	return process.Request{Cmd: "sh", Args: []string{"-c", script}}
}

// background tries the handle of a program that ends with it.
func background() error {
	var c checks
	h, err := process.SpawnBackground(sh(`echo out; echo err >&2; cat; exit 3`))
	if err != nil {
		return err
	}
	r, err := h.WaitWithOutputFor(20 * time.Second)
	c.no(err, "wait-with-output")
	if err == nil {
		c.that(r.Stdout == "out\n" && r.Stderr == "err\n" && r.Exit.String() == "exit status 3", "wait-with-output: %+v", r)
	}
	_, err = h.WriteStdin([]byte("x"))
	c.that(errors.Is(err, process.ErrClosed), "write-stdin after the end: %v", err)
	c.no(h.CloseStdin(), "close-stdin after the end")
	_, err = h.OSPid()
	c.that(errors.Is(err, process.ErrClosed), "os-pid after the end: %v", err)
	h.Drop()
	h.Drop()
	_, err = h.ReadLogs()
	c.that(errors.Is(err, process.ErrClosed), "read-logs after the drop: %v", err)

	slow, err := process.SpawnBackground(process.Request{Cmd: "sleep", Args: []string{"600"}})
	if err != nil {
		return err
	}
	defer slow.Drop()
	_, err = slow.WaitWithOutputFor(time.Millisecond)
	c.that(errors.Is(err, process.ErrWaitTimeout), "wait-with-output of what runs: %v", err)
	pid, err := slow.OSPid()
	c.that(err == nil && pid > 0, "os-pid: %d, %v", pid, err)
	for _, s := range []process.Signal{process.Stop, process.Cont, process.Int} {
		c.no(slow.Signal(s), "signal")
	}
	exit, err := slow.Wait()
	c.that(err == nil && exit.String() == "signal 2", "wait: %s, %v", exit, err)
	return c.err()
}

// files gives a program files that it finds by a variable and by a path.
func files() error {
	var c checks
	r := sh(`cat "$POLICY" /run/selftest.conf; echo x >>"$POLICY" || echo cannot`)
	r.Files = []process.File{
		{Content: []byte("by variable "), Env: "POLICY"},
		{Content: []byte("by path "), Path: "/run/selftest.conf"},
	}
	res, err := process.Spawn(r)
	if err != nil {
		return err
	}
	c.that(res.Stdout == "by variable by path cannot\n", "the program saw %q, and said %q", res.Stdout, res.Stderr)
	return c.err()
}

// follow shows a program's output while it runs.
func follow() error {
	var c checks
	h, err := process.SpawnBackground(sh(`for i in 1 2 3; do echo $i; echo e$i >&2; sleep 0.05; done; exec >&- 2>&-; sleep 0.2`))
	if err != nil {
		return err
	}
	defer h.Drop()
	var out, errs strings.Builder
	exit, err := h.Follow(&out, &errs)
	c.that(err == nil && exit.Success() && out.String() == "1\n2\n3\n" && errs.String() == "e1\ne2\ne3\n",
		"followed %q and %q to %s, %v", &out, &errs, exit, err)
	return c.err()
}

// polls waits for several things at once.
func polls() error {
	var c checks
	quiet, err := process.SpawnBackground(process.Request{Cmd: "sleep", Args: []string{"600"}})
	if err != nil {
		return err
	}
	defer quiet.Drop()
	loud, err := process.SpawnBackground(sh(`sleep 0.1; echo now; sleep 600`))
	if err != nil {
		return err
	}
	defer loud.Drop()
	var list []*poll.Pollable
	for _, f := range []func() (*poll.Pollable, error){quiet.SubscribeExit, loud.SubscribeExit, loud.SubscribeLogs} {
		p, err := f()
		if err != nil {
			return err
		}
		defer p.Drop()
		list = append(list, p)
	}
	ready, err := poll.Poll(list...)
	c.that(err == nil && len(ready) == 1 && ready[0] == 2, "poll for output: %v, %v", ready, err)
	is, err := list[2].Ready()
	c.that(is && err == nil, "output is ready: %t, %v", is, err)
	logs, err := loud.ReadLogs()
	c.that(err == nil && logs.Stdout == "now\n" && logs.Running, "read-logs: %+v, %v", logs, err)
	is, err = list[2].Ready()
	c.that(!is && err == nil, "drained output is ready: %t, %v", is, err)
	_, err = quiet.Kill()
	c.no(err, "kill")
	c.no(list[0].Block(), "block for an exit")
	_, err = poll.Poll()
	c.that(errors.Is(err, poll.ErrInvalid), "poll for nothing: %v", err)
	many := make([]*poll.Pollable, poll.Max+1)
	for i := range many {
		many[i] = list[0]
	}
	_, err = poll.Poll(many...)
	c.that(errors.Is(err, poll.ErrTooLarge), "poll for too many: %v", err)
	return c.err()
}
