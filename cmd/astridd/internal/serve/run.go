package serve

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/internal/control"
)

// Bounds of a run's arguments, together, and how many there may be.
const (
	maxRunArgs     = 512 << 10
	maxRunArgCount = 4096

	maxRunAllowed = 64 // commands of this machine
)

// run runs a WASI command module. Request and answer go on at the same time: the
// rest of the body is the program's standard input.
func (s *Server) run(w http.ResponseWriter, r *http.Request) {
	both := http.NewResponseController(w)
	if err := both.EnableFullDuplex(); err != nil {
		fail(w, err)
		return
	}
	// What is left of the body is the program's to read or leave; the connection
	// cannot be used again.
	w.Header().Set("Connection", "close")
	body := bufio.NewReaderSize(r.Body, 64<<10)
	req, module, err := readRun(body)
	if err != nil {
		fail(w, err)
		_ = both.Flush()
		newInput(body, func() {}).stop(both)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stdin := newInput(body, cancel)
	defer stdin.stop(both)
	out := &runSink{lineSink: newLineSink(w)}
	code, err := s.o.Backend.Run(ctx, operator(r), req, module, stdin, out.stream(control.Stdout), out.stream(control.Stderr))
	if err == nil {
		err = out.line(&control.RunLine{ExitCode: &code})
	}
	out.end(s.orStopping(err))
	_ = out.flush() // before what the client still sends is taken in
}

// readRun reads the first line and the module.
func readRun(body *bufio.Reader) (*control.RunRequest, []byte, error) {
	head, err := readLine(body, control.MaxRunHead)
	if err != nil {
		return nil, nil, err
	}
	req := new(control.RunRequest)
	if err := json.Unmarshal(head, req); err != nil {
		return nil, nil, control.Errorf(control.CodeUsage, "first line of the request: %v", err)
	}
	if err := checkRun(req); err != nil {
		return nil, nil, err
	}
	module := make([]byte, req.ModuleBytes)
	if n, err := io.ReadFull(body, module); err != nil {
		return nil, nil, control.Errorf(control.CodeUsage, "the module ends after %d of %d bytes", n, req.ModuleBytes)
	}
	return req, module, nil
}

// readLine reads up to a line end, at most that many bytes.
func readLine(r *bufio.Reader, most int) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, control.Errorf(control.CodeUsage, "the request ends within its first line")
		case len(line) > most:
			return nil, control.Errorf(control.CodeUsage, "the first line of the request has more than %d bytes", most)
		}
	}
}

func checkRun(r *control.RunRequest) error {
	size := 0
	for _, a := range r.Args {
		size += len(a)
	}
	switch {
	case !policy.ValidPrincipal(r.Principal):
		return control.Errorf(control.CodeUsage, "principal %.80q is not an id", r.Principal).
			WithHint("use 1 to 64 of A-Z, a-z, 0-9, _ and -")
	case r.Name == "" || len(r.Name) > maxName:
		return control.Errorf(control.CodeUsage, "name %.80q is not a name", r.Name)
	case len(r.HostProcess) > maxRunAllowed || slices.ContainsFunc(r.HostProcess, func(s string) bool { return s == "" || len(s) > maxName }):
		return control.Errorf(control.CodeUsage, "at most %d commands of 1 to %d bytes can be allowed", maxRunAllowed, maxName)
	case len(r.CallID) > maxName:
		return control.Errorf(control.CodeUsage, "the call id has %d bytes; at most %d are allowed", len(r.CallID), maxName)
	case len(r.Args) > maxRunArgCount || size > maxRunArgs:
		return control.Errorf(control.CodeUsage, "%d arguments of %d bytes; at most %d of %d are allowed", len(r.Args), size, maxRunArgCount, maxRunArgs)
	case slices.ContainsFunc(r.Args, hasNUL) || hasNUL(r.Name):
		return control.Errorf(control.CodeUsage, "an argument holds a NUL")
	case r.ModuleBytes <= 0 || r.ModuleBytes > control.MaxRunModule:
		return control.Errorf(control.CodeUsage, "a module of %d bytes; it must have 1 to %d", r.ModuleBytes, control.MaxRunModule)
	}
	return nil
}

func hasNUL(s string) bool { return slices.Contains([]byte(s), 0) }

// runSink writes a program's two streams as lines of one answer.
type runSink struct {
	mu sync.Mutex // held for one line
	*lineSink
}

var _ capsule.Cutter = (*runStream)(nil)

// stream returns the writer of one stream. Each write is a line, and is pushed
// out: somebody may wait for it.
func (s *runSink) stream(name string) io.Writer { return &runStream{s, name} }

type runStream struct {
	sink *runSink
	name string
}

// Write implements io.Writer.
func (w *runStream) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	for rest := b; len(rest) > 0; {
		n := min(len(rest), runChunk)
		if err := w.sink.line(&control.RunLine{Stream: w.name, Data: rest[:n]}); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	if err := w.sink.flush(); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Cut implements capsule.Cutter: what is being written to a client that has
// stopped reading breaks off.
func (w *runStream) Cut() {
	_ = http.NewResponseController(w.sink.w).SetWriteDeadline(time.Now())
}

// runChunk is the most that one line carries.
const runChunk = 1 << 20
