package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/process"
)

// stopGrace is how long the watcher has to end of itself.
const stopGrace = 3 * time.Second

// script prints a line when the files of its directory change, and what they
// are then. It runs until it is ended.
const script = `
trap 'echo "watcher: ends"; exit 0' TERM INT
echo "watcher: begins"
last=
while :; do
	now=$(ls -lR .)
	if [ "$now" != "$last" ] && [ -n "$last" ]; then echo "watcher: files changed"; fi
	last=$now
	sleep 1 & wait $!
done`

// running is the watcher that this instance keeps; nil if there is none.
var running *process.Handle

// runningDir is the directory that it watches.
var runningDir string

// watcher tells of the watcher.
type watcher struct {
	Running bool   `json:"running"`
	Dir     string `json:"dir,omitempty"`
	PID     uint32 `json:"pid,omitempty"`    // on the host
	Output  string `json:"output,omitempty"` // what it printed since it was last asked
	Exit    string `json:"exit,omitempty"`   // how it ended
}

// watch is the tool of that name.
func watch(c guest.Call) (any, error) {
	in := struct {
		Do  string `json:"do"`
		Dir string `json:"dir"`
	}{Do: "status", Dir: defaultDir}
	if err := c.Decode(&in); err != nil {
		return nil, err
	}
	switch in.Do {
	case "start":
		if _, err := create(in.Dir); err != nil {
			return nil, err
		}
		return startWatcher(in.Dir)
	case "status":
		return lookAtWatcher()
	case "stop":
		return stopWatcher()
	}
	return nil, fmt.Errorf("arguments: do is %q; want start, status or stop", in.Do)
}

// startWatcher starts the watcher, unless it runs.
func startWatcher(dir string) (watcher, error) {
	if w, err := lookAtWatcher(); err != nil || w.Running {
		return w, err
	}
	env, err := environment()
	if err != nil {
		return watcher{}, err
	}
	h, err := process.SpawnBackground(process.Request{Cmd: "sh", Args: []string{"-c", script}, Dir: dir, Env: env})
	if err != nil {
		return watcher{}, fmt.Errorf("watcher: %w", err)
	}
	running, runningDir = h, dir
	return lookAtWatcher()
}

// lookAtWatcher tells how the watcher is, and lets go of one that has ended.
func lookAtWatcher() (watcher, error) {
	if running == nil {
		return watcher{}, nil
	}
	logs, err := running.ReadLogs()
	if err != nil {
		return watcher{}, fmt.Errorf("watcher: %w", err)
	}
	w := watcher{Running: logs.Running, Dir: runningDir, Output: logs.Stdout + logs.Stderr}
	if logs.Running {
		// It may end at this very moment: then there is no pid to tell.
		w.PID, _ = running.OSPid()
		return w, nil
	}
	if logs.Exit != nil {
		w.Exit = logs.Exit.String()
	}
	running.Drop()
	running = nil
	return w, nil
}

// stopWatcher asks the watcher to end, and makes it.
func stopWatcher() (watcher, error) {
	if running == nil {
		return watcher{}, nil
	}
	if err := running.Signal(process.Term); err != nil && !errors.Is(err, process.ErrClosed) {
		return watcher{}, fmt.Errorf("watcher: %w", err)
	}
	if _, err := running.WaitFor(stopGrace); err != nil {
		if _, err := running.Kill(); err != nil {
			return watcher{}, fmt.Errorf("watcher: %w", err)
		}
	}
	return lookAtWatcher()
}
