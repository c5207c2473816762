package capsule

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/oklog/ulid/v2"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/sys"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/host/bind"
	"github.com/astrid-os/processledger/ledger/event"
)

// OutcomeError is how the invocation of a command ends that leaves with another
// code than 0.
const OutcomeError = "error"

// CommandPrefix is what the names of commands begin with: a command is a
// capsule for as long as it runs, and none of those that are installed.
const CommandPrefix = "run-"

// Grant is what an operator allows a command.
type Grant struct {
	HostProcess     []string // the commands that it may run
	AllowPersistent bool     // it may start processes that outlive it
}

// Command is one run of a WASI program.
type Command struct {
	Principal string
	Args      []string  // without the program's name
	Stdin     io.Reader // nil: it is empty; reading from it may go on for a moment after the end
	Stdout    io.Writer // nil: it goes nowhere; see Cutter
	Stderr    io.Writer
	CallID    string // may be empty
	Actor     event.Actor
}

// A Cutter is a stream of a Command whose writes may block: whoever reads it may
// have stopped to. Cut makes the one under way return, and those after it, with
// an error. It is called once a program has not returned in its grace; without
// it a blocked write holds the run, and the end of the daemon, for ever.
type Cutter interface{ Cut() }

// cutOutput has the streams of a command cut when hard ends, until stop.
func cutOutput(hard context.Context, cmd Command) (stop func() bool) {
	return context.AfterFunc(hard, func() {
		for _, w := range []io.Writer{cmd.Stdout, cmd.Stderr} {
			if c, ok := w.(Cutter); ok {
				c.Cut()
			}
		}
	})
}

// Program compiles a WASI program (a module with _start) as a capsule of its
// own, called CommandPrefix and what of name can stand in a capsule's name. It
// is no member of the set. Record it like any capsule before it is run, so that
// the ledger tells what it was granted; close it in the end.
func (s *Set) Program(ctx context.Context, name string, module []byte, g Grant) (*Capsule, error) {
	text, err := programManifest(name, g)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(text)
	if err != nil {
		return nil, err
	}
	if s.loaded[m.Name] != nil {
		return nil, fmt.Errorf("an installed capsule is called %q; give the program another name", m.Name)
	}
	textSum, moduleSum := sha256.Sum256([]byte(text)), sha256.Sum256(module)
	c := &Capsule{
		Manifest: *m, ManifestText: text, ManifestSHA256: textSum[:],
		ModuleSHA256: moduleSum[:], ModuleBytes: uint64(len(module)),
	}
	cm, unserved, err := s.compiled(ctx, module)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(unserved, checkProgram(cm)); err != nil {
		return nil, errors.Join(err, cm.Close(ctx))
	}
	c.module = cm
	return c, nil
}

// programManifest writes down what a program was granted, as the manifest of a
// capsule would.
func programManifest(name string, g Grant) (string, error) {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		case (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9'):
			return r
		}
		return '-'
	}, strings.TrimSuffix(name, ".wasm"))
	text, err := toml.Marshal(map[string]any{
		"package":      map[string]any{"name": CommandPrefix + clean[:min(len(clean), maxName-len(CommandPrefix))], "version": "0"},
		"component":    []map[string]any{{"file": "program.wasm"}},
		"capabilities": map[string]any{"host_process": append([]string{}, g.HostProcess...), "allow_persistent": g.AllowPersistent},
	})
	return string(text), err
}

func checkProgram(cm wazero.CompiledModule) error {
	switch f := cm.ExportedFunctions()[startExport]; {
	case f == nil:
		return errors.New("exports no _start: it is no program; a capsule is called with astridctl invoke")
	case !allI32(f.ParamTypes(), 0) || !allI32(f.ResultTypes(), 0):
		return errors.New("exports _start with parameters or results")
	case cm.ExportedMemories()["memory"] == nil:
		return abi.ErrNoMemory
	}
	return nil
}

// Close frees the compiled module of a program, which must have ended.
func (c *Capsule) Close(ctx context.Context) error { return c.module.Close(ctx) }

// RunCommand runs a program to its end and returns the code with which it left.
// The program has its arguments, the three streams, clocks and random numbers,
// no files, variables or sockets, and what it imports of this host's interfaces.
// It has no deadline: the end of ctx cancels it softly. The call blocks until
// the end is durable. The error is the host's, a *CallError if the program gave
// no code, or one of this package's refusals.
func (r *Runner) RunCommand(ctx context.Context, c *Capsule, cmd Command) (uint32, error) {
	if err := r.enterCommand(); err != nil {
		return 0, err
	}
	defer r.running.Done()
	defer r.over(false)
	in := newInstance(ulid.MustNew(ulid.Now(), rand.Reader).String(), bind.Services{
		Processes: r.host, Bus: r.opts.Bus, System: r.system, Log: r.opts.Log,
	}, slog.New(slog.DiscardHandler)) // what it prints goes to whoever runs it
	caller := host.Caller{Principal: cmd.Principal, Capsule: c.Name, Instance: in.id, CallID: cmd.CallID, Actor: cmd.Actor}
	args, err := json.Marshal(cmd.Args)
	if err != nil {
		return 0, err
	}
	soft, record, err := r.host.BeginInvocation(ctx, caller, startExport, args)
	if err != nil {
		return 0, fmt.Errorf("begin invocation: %w", err)
	}
	// A crash from here to Finish leaves an invocation that recovery finishes
	// with outcome "daemon-restart", and ends its processes as owner-lost.
	code, end := r.command(soft, in, c, caller, cmd)
	end.InstanceLost = true // a program has no second call
	in.close(context.WithoutCancel(ctx))
	failed := record.Finish(end)
	r.gone(ctx, slotKey{c.Name, cmd.Principal}, in.id, end.Outcome)
	switch {
	case failed != nil:
		return 0, fmt.Errorf("the end of the program could not be recorded, so its outcome is withheld: %w", failed)
	case code == nil:
		return 0, &CallError{Outcome: end.Outcome, Detail: end.Detail}
	}
	return *code, nil
}

func (r *Runner) enterCommand() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.draining {
		return ErrClosed
	}
	r.running.Add(1)
	r.calls++
	return nil
}

// command instantiates a program and calls its _start.
func (r *Runner) command(soft context.Context, in *instance, c *Capsule, caller host.Caller, cmd Command) (*uint32, host.Finished) {
	l := hold(soft, r.closing, 0, r.opts.Grace)
	defer l.release()
	defer cutOutput(l.hard, cmd)()
	guest := caller
	guest.Actor = event.Actor{}
	ctx := in.begin(l.hard, l.soft, guest)
	defer in.end()
	stdin := newInput(l.soft, cmd.Stdin)
	m, err := r.set.runtime.InstantiateModule(ctx, c.module, in.config().
		WithArgs(append([]string{c.Name}, cmd.Args...)...).
		WithStdin(stdin).WithStdout(orNowhere(cmd.Stdout)).WithStderr(io.MultiWriter(in.stderr, orNowhere(cmd.Stderr))))
	if err == nil {
		in.module = m
		_, err = m.ExportedFunction(startExport).Call(ctx)
	}
	return r.left(l, in, caller, err)
}

func orNowhere(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// left says how a program ended; the code is nil if it gave none.
func (r *Runner) left(l *leash, in *instance, caller host.Caller, err error) (*uint32, host.Finished) {
	var exit *sys.ExitError
	code := uint32(0)
	switch {
	case err == nil:
	case errors.As(err, &exit) && l.hard.Err() == nil:
		code = exit.ExitCode()
	default:
		return nil, r.lost(l, in, caller, err)
	}
	end := host.Finished{Outcome: l.outcome(true), Returned: fmt.Sprintf("exit code %d", code)}
	if code != 0 && end.Outcome == OutcomeOK {
		end.Outcome = OutcomeError
	}
	return &code, end
}

// input is a program's standard input: a reader that may block for ever, which
// the end of the program's call must not wait for.
type input struct {
	ctx  context.Context
	from io.Reader
	want chan int
	got  chan piece
	rest []byte
	err  error
}

type piece struct {
	b   []byte
	err error
}

func newInput(ctx context.Context, from io.Reader) *input {
	if from == nil {
		from = strings.NewReader("")
	}
	in := &input{ctx: ctx, from: from, want: make(chan int), got: make(chan piece, 1)}
	go in.pump()
	return in
}

// pump reads what is asked for, one piece ahead of nobody: what the program does
// not read stays in the reader. It ends with ctx, or as soon as the reader
// returns after that.
func (in *input) pump() {
	for {
		select {
		case n := <-in.want:
			b := make([]byte, n)
			n, err := in.from.Read(b)
			in.got <- piece{b[:n], err}
		case <-in.ctx.Done():
			return
		}
	}
}

// maxPiece is the most that is read at a time.
const maxPiece = 64 << 10

// Read implements io.Reader for WASI. After a cancel it is at its end.
func (in *input) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(in.rest) == 0 && in.err == nil {
		select {
		case in.want <- min(len(p), maxPiece):
		case <-in.ctx.Done():
			return 0, io.EOF
		}
		select {
		case p := <-in.got:
			in.rest, in.err = p.b, p.err
		case <-in.ctx.Done():
			return 0, io.EOF
		}
	}
	n := copy(p, in.rest)
	if in.rest = in.rest[n:]; n > 0 || len(in.rest) > 0 {
		return n, nil
	}
	return 0, in.err
}
