// Command driver is the capsule of the daemon's tests: its one action takes a
// list of calls of the process host as JSON and answers with what each
// returned.
package main

import (
	"encoding/json"
	"time"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/process"
)

// step is one call.
type step struct {
	Op      string   `json:"op"`   // spawn, background, wait, kill, signal, drop, and those of persistent.go
	Name    string   `json:"name"` // of the handle, or the label of a persistent process, for all but spawn
	Cmd     string   `json:"cmd"`
	Args    []string `json:"args"`
	Witness string   `json:"witness"` // the variable WITNESS
	Signal  uint8    `json:"signal"`
	MS      int64    `json:"ms"` // wait: 0 waits for ever

	Text   string `json:"text"`   // what is written, or the suffix of a watch
	Cursor string `json:"cursor"` // of read

	// Of persistent: 0 stands for the default.
	LifetimeMS  int64 `json:"lifetime_ms"`
	IdleMS      int64 `json:"idle_ms"`
	RetentionMS int64 `json:"retention_ms"`
	Pressure    bool  `json:"pressure"` // nothing is dropped: the program waits for its readers
}

// outcome is what one call returned.
type outcome struct {
	Err    string       `json:"err,omitempty"`
	Exit   process.Exit `json:"exit"`
	Stdout string       `json:"stdout,omitempty"`

	// Of persistent processes.
	Cursor    string `json:"cursor,omitempty"`
	Dropped   uint64 `json:"dropped,omitempty"`
	EOF       bool   `json:"eof,omitempty"`
	Phase     string `json:"phase,omitempty"`
	StdinOpen bool   `json:"stdin_open,omitempty"`
	Listed    int    `json:"listed,omitempty"`
}

// handles are kept from one call to the next, as a real capsule's would be.
var handles = map[string]*process.Handle{}

func init() { guest.Handle("run", run) }

func main() {}

func run(payload []byte) ([]byte, error) {
	var steps []step
	if err := json.Unmarshal(payload, &steps); err != nil {
		return nil, err
	}
	outcomes := []outcome{}
	for _, s := range steps {
		o, err := do(s)
		if err != nil {
			o.Err = err.Error()
		}
		outcomes = append(outcomes, o)
	}
	return json.Marshal(outcomes)
}

func do(s step) (o outcome, err error) {
	request := process.Request{Cmd: s.Cmd, Args: s.Args, Env: []process.Var{{Key: "WITNESS", Value: s.Witness}}}
	switch h := handles[s.Name]; s.Op {
	case "spawn":
		var r *process.Result
		if r, err = process.Spawn(request); err == nil {
			o.Exit, o.Stdout = r.Exit, r.Stdout
		}
	case "background":
		if h, err = process.SpawnBackground(request); err == nil {
			handles[s.Name] = h
		}
	case "wait":
		if s.MS > 0 {
			o.Exit, err = h.WaitFor(time.Duration(s.MS) * time.Millisecond)
		} else {
			o.Exit, err = h.Wait()
		}
	case "kill":
		var k process.Killed
		if k, err = h.Kill(); err == nil && k.Exit != nil {
			o.Exit = *k.Exit
		}
	case "signal":
		err = h.Signal(process.Signal(s.Signal))
	case "drop":
		h.Drop()
		delete(handles, s.Name)
	default:
		return persistent(s, request)
	}
	return o, err
}
