// A capsule that does what a script says, one call of the contract a line, and
// answers with what it got, one line each: the twin of ../c/interp.c, written
// with the SDK.
package main

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/ipc"
	"github.com/astrid-os/processledger/guest/poll"
	"github.com/astrid-os/processledger/guest/process"
	"github.com/astrid-os/processledger/guest/sys"
)

func init() {
	guest.Handle("run", func(payload []byte) ([]byte, error) {
		var out bytes.Buffer
		for text := range strings.SplitSeq(string(payload), "\n") {
			l := parse(text)
			got, err := run(l)
			if err == nil {
				out.WriteString("ok" + got.text() + "\n")
			} else {
				out.WriteString("error\t" + told(err) + "\n")
			}
		}
		return out.Bytes(), nil
	})
}

func main() {}

// told is the error as the contract names it. Anything else is a fault of this
// guest, and traps.
func told(err error) string {
	var p *process.Error
	var q *poll.Error
	var s *sys.Error
	var i *ipc.Error
	name := ""
	switch {
	case errors.As(err, &p):
		name = p.Code.String()
	case errors.As(err, &q):
		name = q.Code.String()
	case errors.As(err, &s):
		name = s.Code.String()
	case errors.As(err, &i):
		name = i.Code.String()
	default:
		panic(err)
	}
	if name == "unknown" {
		name += "\ttext=" + escape([]byte(err.Error()))
	}
	return name
}

var (
	handles = map[string]any{}
	calls   int
)

func keep[T any](l line, h T, err error) (fields, error) {
	if err != nil {
		return nil, err
	}
	name := strconv.Itoa(len(handles) + 1)
	handles[name] = h
	return value(l, "handle", name), nil
}

func value(l line, key, v string) fields {
	if l.name != "" {
		vars[l.name] = v
	}
	return fields{{key, v}}
}

func (l line) handle() *process.Handle     { return handles[l.get("h")].(*process.Handle) }
func (l line) pollable() *poll.Pollable    { return handles[l.get("p")].(*poll.Pollable) }
func (l line) messages() *ipc.Subscription { return handles[l.get("s")].(*ipc.Subscription) }
func (l line) id() process.ID              { return process.ID(l.get("id")) }

func run(l line) (fields, error) {
	switch prefix, _, _ := strings.Cut(l.op, "."); {
	case l.op == "poll" || prefix == "p":
		return runPoll(l)
	case prefix == "h":
		return runHandle(l)
	case strings.HasPrefix(l.op, "spawn"):
		return runSpawn(l)
	}
	if f := ops[l.op]; f != nil {
		return f(l)
	}
	panic("no such op: " + l.op)
}

func runSpawn(l line) (fields, error) {
	switch l.op {
	case "spawn":
		r, err := process.Spawn(request(l))
		return result(r, err)
	case "spawn-background":
		h, err := process.SpawnBackground(request(l))
		return keep(l, h, err)
	default:
		id, err := process.SpawnPersistent(request(l))
		if err != nil {
			return nil, err
		}
		return value(l, "id", string(id)), nil
	}
}

func runPoll(l line) (fields, error) {
	switch l.op {
	case "p.ready":
		ready, err := l.pollable().Ready()
		return fields{{"ready", ready}}, err
	case "p.block":
		return nil, l.pollable().Block()
	case "p.drop":
		l.pollable().Drop()
		return nil, nil
	}
	var list []*poll.Pollable
	for _, p := range l.all("p") {
		list = append(list, handles[p].(*poll.Pollable))
	}
	ready, err := poll.Poll(list...)
	var f fields
	for _, i := range ready {
		f = append(f, fieldOf{"i", i})
	}
	return f, err
}

func runHandle(l line) (fields, error) {
	h := l.handle()
	switch l.op {
	case "h.read-logs":
		g, err := h.ReadLogs()
		return logs(g, err)
	case "h.write-stdin":
		n, err := h.WriteStdin([]byte(l.get("data")))
		return fields{{"n", n}}, err
	case "h.close-stdin":
		return nil, h.CloseStdin()
	case "h.signal":
		return nil, h.Signal(signals[l.get("sig")])
	case "h.kill":
		k, err := h.Kill()
		return fields{{"killed", k.Killed}, {"exit", exit(k.Exit)}, {"stdout", k.Stdout}, {"stderr", k.Stderr}}, err
	case "h.wait":
		if l.has("ms") {
			e, err := h.WaitFor(l.millis("ms"))
			return ended(e, err)
		}
		e, err := h.Wait()
		return ended(e, err)
	case "h.wait-with-output":
		if l.has("ms") {
			r, err := h.WaitWithOutputFor(l.millis("ms"))
			return result(r, err)
		}
		r, err := h.WaitWithOutput()
		return result(r, err)
	case "h.os-pid":
		pid, err := h.OSPid()
		return fields{{"pid", pid}}, err
	case "h.subscribe-exit":
		p, err := h.SubscribeExit()
		return keep(l, p, err)
	case "h.subscribe-logs":
		p, err := h.SubscribeLogs()
		return keep(l, p, err)
	}
	h.Drop()
	return nil, nil
}

var signals = map[string]process.Signal{
	"term": process.Term, "hup": process.Hup, "usr1": process.Usr1, "usr2": process.Usr2,
	"int": process.Int, "stop": process.Stop, "cont": process.Cont,
}

func (l line) millis(key string) time.Duration {
	return time.Duration(l.number(key)) * time.Millisecond
}
