package process

import (
	"errors"
	"io"
)

// Follow writes what the program writes to stdout and stderr, either of which
// may be nil, until it has ended. It drains the output as ReadLogs does. An
// error of a writer ends it, and leaves the program alone.
func (h *Handle) Follow(stdout, stderr io.Writer) (Exit, error) {
	logs, err := h.SubscribeLogs()
	if err != nil {
		return Exit{}, err
	}
	defer logs.Drop()
	for {
		if err := logs.Block(); err != nil {
			return Exit{}, err
		}
		l, err := h.drain(stdout, stderr)
		if err != nil {
			return Exit{}, err
		}
		if !l.Running {
			// What came between the reading and the asking.
			if _, err := h.drain(stdout, stderr); err != nil || l.Exit == nil {
				return Exit{}, err
			}
			return *l.Exit, nil
		}
		if l.Stdout == "" && l.Stderr == "" {
			// It has closed its output and runs on, or somebody else drains.
			if _, err := h.WaitFor(maxPause); err != nil && !errors.Is(err, ErrWaitTimeout) {
				return Exit{}, err
			}
		}
	}
}

func (h *Handle) drain(stdout, stderr io.Writer) (Logs, error) {
	l, err := h.ReadLogs()
	if err == nil && stdout != nil && l.Stdout != "" {
		_, err = io.WriteString(stdout, l.Stdout)
	}
	if err == nil && stderr != nil && l.Stderr != "" {
		_, err = io.WriteString(stderr, l.Stderr)
	}
	return l, err
}
