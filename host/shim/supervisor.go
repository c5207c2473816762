//go:build linux

package shim

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/crashpoint"
)

// supervisor is a shim. Everything but the pumps, the receivers and the jail's
// thread happens in one goroutine, so nothing here needs a lock, and the
// program cannot be signalled after it was reaped.
type supervisor struct {
	spec     *Spec
	dir      int // the process directory
	procfd   int // the machine's own /proc, opened before the namespace's
	jail     *jail
	oom      *oom
	isolated string // what was applied
	self     Identity
	bootID   []byte
	listener *os.File

	children <-chan os.Signal
	inbox    chan delivery
	alarm    *alarm
	again    <-chan time.Time // stands in for an alarm that could not be set

	conn     *Conn // nil while no daemon is there
	alone    int64 // CLOCK_BOOTTIME at which the last daemon left
	prog     *program
	tree     tree
	in       *stdin
	out, err *pump
	output   chan struct{}    // capacity 1: a reader is to be told of output
	later    <-chan time.Time // when one is to be told who could not be; nil: nobody
	ended    uint32           // streams whose end the daemon was told
	started  *Started
	orders   orders
	sent     causes
	end      ending
}

// delivery is what a receiving goroutine hands to the supervisor: a message, or
// the end of its connection (nil), or a new connection.
type delivery struct {
	conn *Conn
	m    *Message
	new  bool
}

// shimMain runs one program from spec to exit record.
func shimMain() int {
	score := openScore() // before it belongs to root
	// Invariant: nothing of the process is readable by the program, which may
	// run as the same user.
	if unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) != nil {
		return 1
	}
	s := &supervisor{children: catchSignals(), inbox: make(chan delivery), output: make(chan struct{}, 1), dir: shimDir, oom: score}
	s.oom.protect()
	conn, err := NewConn(shimConn)
	if err != nil {
		return 1
	}
	s.conn = conn
	if failed := s.prepare(); failed != nil {
		s.tell(&Message{Type: TypeFailed, Record: EncodeFailed(failed)})
		return 1
	}
	if !s.waitForGo() {
		return 0 // nothing ran, and nothing is removed: the directory says so
	}
	if !s.begin() {
		return 0
	}
	s.run()
	return 0
}

// failure makes the record of a step that went wrong.
func failure(step string, errno uint32, detail string) *Failed {
	return &Failed{Step: step, Errno: errno, Detail: clip(detail), Boot: boottime(), Wall: walltime()}
}

// clip keeps details within a message.
func clip(s string) string { return s[:min(len(s), 1024)] }

// prepare does all that may be undone: it reads the spec, sets the jail up,
// listens, and writes `ready`.
func (s *supervisor) prepare() *Failed {
	spec, err := readSpec()
	if err != nil {
		return failure("spec", uint32(unix.EINVAL), err.Error())
	}
	s.spec, s.orders = spec, orders{Orders: spec.Orders}
	if err := s.confine(); err != nil {
		var file *FileError
		if errors.As(err, &file) {
			return failure(StepFiles, uint32(unix.EINVAL), err.Error())
		}
		return failure("jail", uint32(unix.EPERM), err.Error())
	}
	if err := s.listen(); err != nil {
		return failure("jail", uint32(unix.EIO), err.Error())
	}
	ready := EncodeReady(&Ready{Version: ProtocolVersion, Shim: s.self, Isolation: s.isolated, Boot: boottime(), Wall: walltime(), BootID: s.bootID})
	// A crash before `ready` leaves a directory with a free lock and no `go`:
	// recovery aborts the spawn, nothing ran. So does one after it.
	crashpoint.Here("shim.ready.unwritten")
	if err := writeRecord(s.dir, FileReady, ready, visible); err != nil {
		return failure("record", uint32(unix.EIO), err.Error())
	}
	crashpoint.Here("shim.ready.written")
	if s.alarm, err = newAlarm(); err != nil {
		return failure("jail", uint32(unix.EIO), err.Error())
	}
	s.tell(&Message{Type: TypeReady, Record: ready})
	return nil
}

// readSpec reads the memfd whole and gives it back to the kernel.
func readSpec() (*Spec, error) {
	f := os.NewFile(shimSpec, "spec")
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, st.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, err
	}
	return DecodeSpec(b)
}

// confine sets up the namespace or the subreaper, and what the shim must know of
// itself before the machine's /proc is covered.
func (s *supervisor) confine() error {
	var err error
	if s.procfd, err = OpenProc(); err != nil {
		return os.NewSyscallError("open /proc", err)
	}
	s.self = selfIdentity(s.procfd)
	boot, err := BootID(s.procfd)
	if err != nil {
		return err
	}
	s.bootID = boot[:]
	umask := unix.Umask(0o077)
	s.jail = newJail()
	if s.isolated, err = s.jail.set(s.spec, umask); err != nil {
		return err
	}
	if s.spec.Isolation == IsolationPIDNS {
		s.tree = namespace{}
		return nil
	}
	s.tree = descendants{procfd: s.procfd, group: s.group}
	return os.NewSyscallError("subreaper", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// group returns the program's process group, which its setsid made.
func (s *supervisor) group() int {
	if s.prog == nil || s.prog.reaped {
		return 0
	}
	return s.prog.pid
}

func selfIdentity(procfd int) Identity {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return Identity{}
	}
	defer unix.Close(fd)
	return IdentityOf(procfd, fd)
}

// waitForGo blocks until the daemon says "go"; false means that it left, or
// took the spawn back, by closing the connection.
func (s *supervisor) waitForGo() bool {
	for {
		m, fds, err := s.conn.Recv()
		CloseAll(fds)
		switch {
		case errors.Is(err, ErrMalformed):
			continue
		case err != nil:
			return false
		case m.Type == TypeGo:
			return true
		case m.Type == TypeHello:
			s.tell(&Message{Type: TypeState, Seq: m.Seq, Phase: PhaseWaiting})
		case m.Type == TypeSignal:
			s.tell(&Message{Type: TypeSignaled, Seq: m.Seq, Errno: uint32(unix.ESRCH)})
		default:
			s.tell(&Message{Type: TypeUndefined, Seq: m.Seq})
		}
	}
}

// begin writes `go`, runs the program and writes `started`. If the program
// could not be run it writes `failed` and returns false.
func (s *supervisor) begin() bool {
	// A crash before `go` leaves nothing run. From its rename on a program
	// may have run: recovery finds `go` without `started` or `failed` and
	// declares it lost.
	crashpoint.Here("shim.go.unwritten")
	if err := writeRecord(s.dir, FileGo, EncodeGoing(&Going{Boot: boottime(), Wall: walltime()}), visible); err != nil {
		return s.fail(failure("record", uint32(unix.EIO), err.Error()))
	}
	crashpoint.Here("shim.go.written")
	if failed := s.launch(); failed != nil {
		return s.fail(failed)
	}
	// A crash here kills the program too (or, without a namespace, the
	// program itself by its parent's death): lost, with `go` as the evidence.
	crashpoint.Here("shim.started.unwritten")
	s.started = s.describeStart()
	record := EncodeStarted(s.started)
	if err := writeRecord(s.dir, FileStarted, record, visible); err != nil {
		// The program runs; the daemon hears of it all the same, and if it
		// does not, `go` without `started` says that it may have run.
		s.tell(&Message{Type: TypeStarted, Record: record, Text: clip(err.Error()), Stdin: s.in.told()}, s.prog.pidfd)
		return true
	}
	crashpoint.Here("shim.started.written")
	s.tell(&Message{Type: TypeStarted, Record: record, Stdin: s.in.told()}, s.prog.pidfd)
	return true
}

// fail records that the program was not run, and tells.
func (s *supervisor) fail(f *Failed) bool {
	record := EncodeFailed(f)
	// A crash here leaves `go` alone: recovery must say that the program may
	// have run, although it did not.
	crashpoint.Here("shim.failed.unwritten")
	if err := writeRecord(s.dir, FileFailed, record, visible); err == nil {
		crashpoint.Here("shim.failed.written")
	}
	s.tell(&Message{Type: TypeFailed, Record: record})
	return false
}

// launch opens rings and pipes and forks the program.
func (s *supervisor) launch() *Failed {
	stdio, ends, err := openStdio(s.spec)
	defer func() { closeStdio(stdio) }()
	if err != nil {
		return failure("exec", uint32(unix.EMFILE), err.Error())
	}
	outRing, err := openRingWriter(s.dir, FileStdout)
	if err != nil {
		return failure("record", uint32(unix.EIO), err.Error())
	}
	errRing, err := openRingWriter(s.dir, FileStderr)
	if err != nil {
		return failure("record", uint32(unix.EIO), err.Error())
	}
	var failed *stepError
	s.jail.do(func() { s.oom.lend(func() { s.prog, failed = start(s.spec, stdio) }) })
	if failed != nil {
		return failure(failed.step, failed.errno(), failed.Error())
	}
	s.in = ends.in
	s.in.start()
	s.out = startPump(ends.out, outRing, s.spec.Backpressure, s.output)
	s.err = startPump(ends.err, errRing, s.spec.Backpressure, s.output)
	return nil
}

// describeStart tells what runs now.
func (s *supervisor) describeStart() *Started {
	id := IdentityOf(s.procfd, s.prog.pidfd)
	if id.PidNamespace == 0 {
		id.PidNamespace = s.self.PidNamespace
	}
	return &Started{
		Program: id, Shim: s.self, Isolation: s.isolated,
		Executable: s.prog.executable, Interpreter: s.prog.interpreter,
		Boot: s.prog.boot, Wall: s.prog.wall, BootID: s.bootID,
	}
}

// run serves the daemon, or stands in for it, until the exit record is safe.
func (s *supervisor) run() {
	s.orders.begin(s.prog.boot)
	go s.accept()
	if s.conn != nil { // the daemon may have died since it said go
		go s.receive(s.conn)
	}
	s.reap() // it may have ended before we listened for signals of children
	for !s.advance() {
		s.arm()
		select {
		case <-s.children:
			s.reap()
		case d := <-s.inbox:
			s.handle(d)
		case <-s.alarm.C:
			s.carryOut()
		case <-s.again:
			s.again = nil
			s.carryOut()
		case err := <-s.in.fed:
			s.in.heard(err)
			s.tellStdin()
		case <-s.output:
			s.tellOutput()
		case <-s.later:
			s.tellOutput()
		case <-s.untold(EndedStdout, s.out):
			s.tellEnded(EndedStdout)
		case <-s.untold(EndedStderr, s.err):
			s.tellEnded(EndedStderr)
		case <-s.end.wake(s.out, s.err):
		case <-s.end.timer:
			s.end.timer, s.end.late = nil, true
		}
	}
}

// Bounds of telling of output.
const (
	maxUnread = 32 << 10 // of what was told before, in the socket's memory: some forty messages
	tellPause = 10 * time.Millisecond
)

// tellOutput tells of output, or does so later if the daemon is behind with what
// it was told before: a program of the same user can write into its ring that
// somebody asks, without end, and must not fill the queue that its own end is to
// be told in.
func (s *supervisor) tellOutput() {
	s.later = nil
	if s.conn != nil && s.conn.Unread() > maxUnread {
		s.later = time.After(tellPause)
		return
	}
	s.tell(&Message{Type: TypeOutput})
}

// untold is ready when a stream has ended while the program runs on, and the
// daemon was not told: then there is more to tell than its exit.
func (s *supervisor) untold(stream uint32, p *pump) <-chan struct{} {
	if s.end.stage != running || s.ended&stream != 0 {
		return nil
	}
	return p.done
}

func (s *supervisor) tellEnded(stream uint32) {
	if s.reap(); s.end.stage != running {
		return // its exit says it
	}
	s.ended |= stream
	s.tell(&Message{Type: TypeEnded, Ended: s.ended})
}

// arm sets the alarm for what is due next. The kernel has no reason to refuse
// it; if it does, the orders are looked at once a second instead: a bound that
// comes a second late is better than none.
func (s *supervisor) arm() {
	if s.alarm.set(s.orders.next(s.conn != nil, s.alone)) != nil && s.again == nil {
		s.again = time.After(time.Second)
	}
}

// tell sends to the daemon if one is there. A daemon that does not read is
// treated as gone: the program must not wait for it.
func (s *supervisor) tell(m *Message, fds ...int) bool {
	if s.conn == nil {
		return false
	}
	if s.conn.TrySend(m, fds...) != nil {
		s.disconnect(s.conn)
		return false
	}
	return true
}

// disconnect forgets the daemon, if it was on c, and starts counting.
func (s *supervisor) disconnect(c *Conn) {
	c.Close()
	if s.conn == c {
		s.conn, s.alone = nil, boottime()
	}
}

// reap collects every child that has ended: the program, and what the tree left
// behind.
func (s *supervisor) reap() {
	for {
		var ws unix.WaitStatus
		var ru unix.Rusage
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, &ru)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || pid == 0:
			return
		case pid == s.prog.pid && !s.prog.reaped:
			s.prog.reaped = true
			s.end.programEnded(ws, ru)
			s.out.enter(pumpSlack)
			s.err.enter(pumpSlack)
		default:
			s.end.otherEnded(ws)
		}
	}
}
