package demo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/astrid-os/processledger/internal/control"
)

// startPatience bounds how long a daemon may take to be ready. A start takes
// well under a second; a loaded machine is given a lot more.
const startPatience = 60 * time.Second

// daemon is a running astridd.
type daemon struct {
	cmd  *exec.Cmd
	log  string // path of what it writes to stderr
	done chan struct{}
}

// start starts astridd and waits until it is ready.
func (s *site) start(ctx context.Context) (*control.Status, error) {
	log, err := os.OpenFile(filepath.Join(s.dir, "astridd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d := &daemon{cmd: exec.Command(filepath.Join(s.bin, "astridd"), "--config", s.config), log: log.Name(), done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.Env = s.environment()
	apart(d.cmd)
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = d.cmd.Wait(); close(d.done) }() // how it ended is seen by whoever ends it
	s.daemon = d
	return s.ready(ctx)
}

// ready waits until the daemon is, and gives up when it has ended.
func (s *site) ready(ctx context.Context) (*control.Status, error) {
	d := s.daemon
	wait, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	go func() {
		select {
		case <-d.done:
			cancel()
		case <-wait.Done():
		}
	}()
	st, err := s.client.WaitReady(wait)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("astridd did not become ready: %w\nthe end of its log:\n%s", err, d.tail())
	}
	return st, err
}

// tail is the end of its log.
func (d *daemon) tail() string {
	b, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// kill ends the daemon by SIGKILL: it has no chance to do anything.
func (s *site) kill() error {
	d := s.daemon
	s.daemon = nil
	if err := d.cmd.Process.Kill(); err != nil {
		return err
	}
	<-d.done
	return nil
}

// stop ends the daemon in good order, or by force after the patience.
func (s *site) stop(patience time.Duration) error {
	d := s.daemon
	if d == nil {
		return nil
	}
	s.daemon = nil
	if err := d.cmd.Process.Signal(terminate); err != nil {
		return err
	}
	select {
	case <-d.done:
		return nil
	case <-time.After(patience):
	}
	_ = d.cmd.Process.Kill()
	<-d.done
	return fmt.Errorf("astridd did not stop within %s; the end of its log:\n%s", patience, d.tail())
}
