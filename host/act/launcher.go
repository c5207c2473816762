//go:build linux

package act

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/shim"
)

// launcher is the daemon's end of `astrid-shim launch`, the process that clones
// shims. When it dies it is started again for the next launch.
type launcher struct {
	binary string
	log    *slog.Logger

	mu      sync.Mutex // held while a request is sent, and while a dead launcher is replaced
	running *running   // nil when stopped
	stopped bool
}

// running is one launcher process.
type running struct {
	conn *shim.Conn
	cmd  *exec.Cmd
	done chan struct{} // closed once it is dead and reaped

	mu      sync.Mutex // held for map operations
	seq     uint64
	pending map[uint64]chan launched
	dead    bool
}

// launched is the answer to one launch.
type launched struct {
	pid   uint32
	pidfd int
	err   error
}

// startLauncher starts the first launcher, so that a binary that is missing or
// cannot run shows at once.
func startLauncher(binary string, log *slog.Logger) (*launcher, error) {
	l := &launcher{binary: binary, log: log}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l, l.start()
}

// start must be called with mu held.
func (l *launcher) start() error {
	conn, remote, err := shim.Pair()
	if err != nil {
		return fmt.Errorf("start launcher: %w", err)
	}
	f := os.NewFile(uintptr(remote), "launcher")
	defer f.Close()
	cmd := exec.Command(l.binary, shim.ModeLaunch)
	cmd.Env = shim.ShimEnv(os.Getenv("ASTRID_CRASH_AT"))
	cmd.Dir = "/" // hold no directory of the daemon's
	cmd.ExtraFiles = []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C is the daemon's business
	if err := cmd.Start(); err != nil {
		conn.Close()
		return fmt.Errorf("start launcher: %w", err)
	}
	l.running = &running{conn: conn, cmd: cmd, done: make(chan struct{}), pending: map[uint64]chan launched{}}
	go l.running.receive(l.log)
	return nil
}

// stop ends the launcher and waits for it.
func (l *launcher) stop() {
	l.mu.Lock()
	r := l.running
	l.stopped, l.running = true, nil
	l.mu.Unlock()
	if r != nil {
		r.conn.Close()
		<-r.done
	}
}

// shim clones one shim with the descriptors and returns its pidfd, which is the
// caller's. It blocks for some milliseconds, or until ctx ends.
func (l *launcher) shim(ctx context.Context, isolation string, fds []int) (pid uint32, pidfd int, err error) {
	r, seq, answer, err := l.request(isolation, fds)
	if err != nil {
		return 0, -1, err
	}
	select {
	case a := <-answer:
		return a.pid, a.pidfd, a.err
	case <-ctx.Done():
		r.giveUp(seq, answer)
		return 0, -1, ctx.Err()
	}
}

// request sends a launch. A launcher that is found dead before it had the
// request is replaced; one that dies with it fails that request only.
func (l *launcher) request(isolation string, fds []int) (*running, uint64, <-chan launched, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for attempt := 0; ; attempt++ {
		if l.stopped {
			return nil, 0, nil, fmt.Errorf("launch: %w", os.ErrClosed)
		}
		if l.running == nil {
			if err := l.start(); err != nil {
				return nil, 0, nil, err
			}
		}
		r := l.running
		seq, answer := r.expect()
		err := r.conn.Send(&shim.Message{Type: shim.TypeLaunch, Seq: seq, Isolation: isolation}, fds...)
		if err == nil {
			return r, seq, answer, nil
		}
		r.giveUp(seq, answer)
		r.conn.Close()
		<-r.done
		l.running = nil
		if attempt > 0 {
			return nil, 0, nil, errors.Join(ErrLauncher, err)
		}
	}
}

// expect registers a request.
func (r *running) expect() (uint64, <-chan launched) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	answer := make(chan launched, 1)
	if r.dead {
		answer <- launched{pidfd: -1, err: ErrLauncher}
		return r.seq, answer
	}
	r.pending[r.seq] = answer
	return r.seq, answer
}

// take removes a request and tells whether it was still unanswered.
func (r *running) take(seq uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, waiting := r.pending[seq]
	delete(r.pending, seq)
	return waiting
}

// deliver answers a request, and tells whether anybody still wants the answer.
func (r *running) deliver(seq uint64, a launched) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	answer := r.pending[seq]
	delete(r.pending, seq)
	if answer == nil {
		return false
	}
	answer <- a // buffered
	return true
}

// giveUp forgets a request; a pidfd that was already answered is closed. The
// shim itself leaves when its connection is closed.
func (r *running) giveUp(seq uint64, answer <-chan launched) {
	if r.take(seq) {
		return
	}
	a := <-answer // whoever took the request out of pending has put the answer in
	closeFD(a.pidfd)
}

// receive hands answers on until the launcher is gone, and reaps it.
func (r *running) receive(log *slog.Logger) {
	for {
		m, fds, err := r.conn.Recv()
		if errors.Is(err, shim.ErrMalformed) {
			continue
		}
		if err != nil {
			break
		}
		a := launched{pid: m.PID, pidfd: -1}
		if m.Type == shim.TypeLaunched && len(fds) == 1 {
			a.pidfd, fds = fds[0], nil
		} else {
			a.err = refusal(m)
		}
		shim.CloseAll(fds)
		if !r.deliver(m.Seq, a) {
			closeFD(a.pidfd)
		}
	}
	r.buried(log)
}

// buried fails what was in flight and reaps the launcher.
func (r *running) buried(log *slog.Logger) {
	r.conn.Close()
	r.mu.Lock()
	r.dead = true
	for seq, answer := range r.pending {
		answer <- launched{pidfd: -1, err: ErrLauncher}
		delete(r.pending, seq)
	}
	r.mu.Unlock()
	if err := r.cmd.Wait(); err != nil {
		log.Warn("launcher ended", "error", err)
	}
	close(r.done)
}

// refusal turns a launcher's answer into an error that says what to do.
func refusal(m *shim.Message) error {
	switch errno := syscall.Errno(m.Errno); errno {
	case unix.EPERM, unix.EINVAL, unix.ENOSYS, unix.ENOSPC, unix.EUSERS, unix.EACCES:
		return fmt.Errorf("%w (clone: %w)", ErrIsolation, errno)
	}
	return fmt.Errorf("%w: launcher: %s", ErrShim, m.Text)
}
