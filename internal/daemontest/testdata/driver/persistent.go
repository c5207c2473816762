package main

import (
	"fmt"
	"time"

	"github.com/astrid-os/processledger/guest/process"
)

// persistent is one call about a persistent process. Its name is its label, by
// which a later instance finds it again.
func persistent(s step, request process.Request) (o outcome, err error) {
	switch s.Op {
	case "persistent":
		request.Label, request.KeepStdinOpen = s.Name, true
		request.Lifetime, request.Idle, request.Retention = ms(s.LifetimeMS), ms(s.IdleMS), ms(s.RetentionMS)
		if s.Pressure {
			request.Overflow = process.Backpressure
		}
		_, err = process.SpawnPersistent(request)
		return o, err
	case "list":
		infos, err := process.List("")
		o.Listed = len(infos)
		return o, err
	}
	id, err := find(s.Name)
	if err != nil {
		return o, err
	}
	switch s.Op {
	case "status":
		var i process.Info
		i, err = id.Status()
		o.Phase, o.StdinOpen = i.Phase.String(), i.StdinOpen
	case "read":
		var c process.Chunk
		c, err = id.ReadSince(process.Stdout, process.Cursor(s.Cursor), 1<<20)
		o.Stdout, o.Cursor, o.Dropped, o.EOF = string(c.Data), string(c.Next), c.Dropped, c.EOF
	case "attach":
		handles[s.Name], err = id.Attach()
	case "await":
		o.Exit, err = id.WaitFor(time.Duration(s.MS) * time.Millisecond)
	case "stop":
		o.Exit, err = id.StopWithin(time.Duration(s.MS) * time.Millisecond)
	default:
		err = tell(id, s)
	}
	return o, err
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// tell is a call that returns nothing.
func tell(id process.ID, s step) error {
	switch s.Op {
	case "write":
		_, err := id.WriteStdin([]byte(s.Text))
		return err
	case "eof":
		return id.CloseStdin()
	case "watch":
		return id.Watch(s.Text)
	case "unwatch":
		return id.Unwatch()
	case "release":
		return id.Release()
	}
	return fmt.Errorf("no op %q", s.Op)
}

// find returns the id of the process with a label.
func find(label string) (process.ID, error) {
	infos, err := process.List(label)
	if err != nil {
		return "", err
	}
	for _, i := range infos {
		if i.Label == label {
			return i.ID, nil
		}
	}
	return "", fmt.Errorf("no process has the label %q", label)
}
