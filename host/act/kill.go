//go:build linux

package act

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/shim"
)

// askBound is how long a found shim may take to end its tree before it is
// killed itself; leaveBound is how long one takes at most to leave after its last
// word; lookPause is how often the proof of its death is looked for.
const (
	askBound   = 2 * time.Second
	leaveBound = 200 * time.Millisecond
	lookPause  = 5 * time.Millisecond
)

// kill ends a found shim and waits for the proof; cause goes into the exit
// record. See Kill.
func (h *Hands) kill(f Found, cause string) error {
	if f.Dead {
		return nil
	}
	// Whoever listens on the socket is the shim: the kernel says so. Only a
	// shim that does not listen is looked up.
	c := &Child{h: h, id: f.ID, path: h.path(f.ID), dirfd: -1, in: newStdin(false)}
	defer c.release()
	err := c.connect()
	if err == nil && !c.placed {
		err = c.confirm()
	}
	if err == nil {
		err = c.endShim(cause)
	} else {
		err = h.killByIdentity(f, c.dirfd)
	}
	closeFD(c.dirfd)
	if err != nil {
		return err
	}
	return h.awaitDeath(f.ID)
}

// confirm asks a shim of which nobody can see where it works whose it is. One that
// does not answer is taken for what else proves it.
func (c *Child) confirm() error {
	if err := c.shim.signal(unix.SIGCONT); err != nil { // a stopped one could not answer
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askBound)
	defer cancel()
	if c.conn.Send(&shim.Message{Type: shim.TypeHello}) != nil {
		return nil
	}
	m, fds, err := c.recv(ctx)
	shim.CloseAll(fds)
	if err != nil {
		return nil
	}
	return c.checkHandle(m)
}

// endShim has the shim kill its tree and leave, so that the exit is recorded;
// if it does not, it is killed itself.
func (c *Child) endShim(cause string) error {
	if err := c.shim.signal(unix.SIGCONT); err != nil { // a stopped one could not answer
		return err
	}
	m := &shim.Message{Type: shim.TypeSignal, Seq: 1, Signal: uint32(unix.SIGKILL), Target: shim.TargetTree, Cause: cause}
	if c.conn.Send(m) == nil && c.shim.wait(askBound) == nil {
		return nil
	}
	return c.shim.signal(unix.SIGKILL)
}

// staysBehind tells whether the shim lives on although its connection has ended, as
// one does that took this end for gone, or listens to another. One that has sent
// its last word is given the moment that it takes to leave.
func (c *Child) staysBehind() bool {
	if _, letGo := c.held(); letGo {
		return false
	}
	p, err := c.shim.dup()
	if err != nil {
		return false
	}
	defer p.close()
	return errors.Is(p.wait(leaveBound), ErrAlive)
}

// killLeft ends the tree of a shim that stays behind: it is asked by another
// connection, so that it records the exit.
func (c *Child) killLeft(cause string) (SignalResult, error) {
	c.h.log.Warn("a shim has hung up and lives; it is ended by another connection", "handle", c.id)
	f, err := c.h.Look(c.id)
	if err == nil {
		f.Shim, f.Dead = c.shimID, false // we hold it, and it lives
		err = c.h.kill(f, cause)
	}
	if err != nil {
		c.h.log.Warn("a shim that has hung up cannot be asked", "handle", c.id, "error", err)
		return c.killSilent()
	}
	return SignalResult{Delivered: true}, nil
}

// killSilent ends the tree of a shim that was asked to and does not answer: a
// program of the same user can stop it, in the weaker mode. A shim that was only
// stopped goes on and carries the request out; else it is killed, and its
// namespace with it. Without a namespace only the program is sure to die along.
func (c *Child) killSilent() (SignalResult, error) {
	p, err := c.shim.dup() // follow may be waiting on the other
	if err != nil {
		return SignalResult{}, fmt.Errorf("signal %s: %w: %w", c.id, ErrNoAnswer, err)
	}
	defer p.close()
	if err := p.signal(unix.SIGCONT); err != nil {
		return SignalResult{Detail: "the shim does not answer and cannot be continued: " + err.Error()}, nil
	}
	if p.wait(askBound) == nil {
		return SignalResult{Detail: "the shim did not answer; continued, it ended its tree and left"}, nil
	}
	c.h.log.Warn("a shim does not answer a KILL and is killed itself", "handle", c.id)
	if err := p.signal(unix.SIGKILL); err != nil {
		return SignalResult{Detail: "the shim does not answer and cannot be killed: " + err.Error()}, nil
	}
	if p.wait(askBound) != nil {
		return SignalResult{Detail: "the shim did not answer; it was killed and is not dead yet"}, nil
	}
	return SignalResult{Detail: "the shim did not answer; it was killed itself"}, nil
}

// killByIdentity kills the shim of a directory that nobody can speak with.
func (h *Hands) killByIdentity(f Found, dirfd int) error {
	if f.OtherBoot || dirfd < 0 {
		return nil // awaitDeath says what there is to say
	}
	fd, err := h.openShim(f.Shim, dirfd)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	p, err := newPidfd(fd)
	if err != nil {
		return err
	}
	defer p.close()
	return p.signal(unix.SIGKILL)
}

// awaitDeath looks until the directory proves that nobody lives.
func (h *Hands) awaitDeath(id ulid.ULID) error {
	for end := time.Now().Add(endBound); ; time.Sleep(lookPause) {
		f, err := h.Look(id)
		switch {
		case errors.Is(err, os.ErrNotExist) || err == nil && f.Dead:
			return nil
		case err != nil:
			return err
		case time.Now().After(end):
			return fmt.Errorf("kill %s: %w", id, ErrAlive)
		}
	}
}
