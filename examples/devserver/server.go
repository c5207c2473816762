package main

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/process"
)

// labelPrefix begins the label of each server; its name follows. By it a later
// instance finds the server again.
const labelPrefix = "devserver/"

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// server is one server, as an answer tells of it.
type server struct {
	Name    string `json:"name"`
	Running bool   `json:"running"`
	Started bool   `json:"started,omitempty"` // by this very call
	PID     uint32 `json:"pid,omitempty"`     // on the host
	Command string `json:"command,omitempty"`
	UpMS    int64  `json:"up_ms,omitempty"`
	Exit    string `json:"exit,omitempty"` // how it ended, or how the one before did
}

// find returns what the host knows of a server, nil if it knows none. The host
// finds every label that contains the text; the name must be the whole of it.
func find(name string) (*process.Info, error) {
	if !validName.MatchString(name) {
		return nil, fmt.Errorf("arguments: %q is no name: 1 to 32 of a-z, 0-9 and -", name)
	}
	all, err := process.List(labelPrefix + name)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if i.Label == labelPrefix+name {
			return &i, nil
		}
	}
	return nil, nil
}

// must is find for a server that there has to be.
func must(name string) (*process.Info, error) {
	i, err := find(name)
	if err == nil && i == nil {
		err = fmt.Errorf("no server has the name %q; dev_start starts one", name)
	}
	return i, err
}

func describe(i process.Info) server {
	s := server{Name: i.Label[len(labelPrefix):], Running: i.Phase != process.Exited, PID: i.OSPid, Command: i.Command}
	if s.Running {
		s.UpMS = i.Age.Milliseconds()
	}
	if i.Exit != nil {
		s.Exit = i.Exit.String()
	}
	return s
}

// start is the tool dev_start.
func start(c guest.Call) (any, error) {
	var in struct {
		Name string   `json:"name"`
		Cmd  string   `json:"cmd"`
		Args []string `json:"args"`
		Dir  string   `json:"dir"`
	}
	if err := c.Decode(&in); err != nil {
		return nil, err
	}
	known, err := find(in.Name)
	if err != nil {
		return nil, err
	}
	var before string
	if known != nil {
		if known.Phase != process.Exited {
			return describe(*known), nil
		}
		// One that has ended keeps its log until here, so that somebody can
		// read why.
		before = describe(*known).Exit
		if err := known.ID.Release(); err != nil {
			return nil, err
		}
	}
	s, err := launch(in.Name, process.Request{Cmd: in.Cmd, Args: in.Args, Dir: in.Dir})
	s.Exit = before
	return s, err
}

// launch starts a server and has its end told on the bus.
func launch(name string, r process.Request) (server, error) {
	r.Label = labelPrefix + name
	r.Idle = 6 * time.Hour // nobody has to look at a server that works
	r.Retention = time.Hour
	id, err := process.SpawnPersistent(r)
	if err != nil {
		return server{}, fmt.Errorf("%s: %w", r.Cmd, err)
	}
	if err := id.Watch(suffix); err != nil {
		return server{}, err
	}
	i, err := id.Status()
	if err != nil {
		return server{}, err
	}
	s := describe(i)
	s.Started = true
	return s, nil
}

// stop is the tool dev_stop.
func stop(c guest.Call) (any, error) {
	var in struct {
		Name string `json:"name"`
	}
	if err := c.Decode(&in); err != nil {
		return nil, err
	}
	i, err := must(in.Name)
	if err != nil {
		return nil, err
	}
	exit, err := i.ID.Stop()
	if errors.Is(err, process.ErrNoSuchProcess) {
		return nil, fmt.Errorf("the server %q was stopped by somebody else", in.Name)
	}
	if err != nil {
		return nil, err
	}
	return server{Name: in.Name, Command: i.Command, Exit: exit.String()}, nil
}
