// Package serve is the server of the control socket.
//
// Who connects is asked of the kernel (SO_PEERCRED) once a connection: the uid
// goes into every event that an operator causes, and whoever is not an
// operator gets a clear refusal to every request. So does a program of a
// capsule, which runs under the daemon's own uid: it is told by its PID
// namespace and by the shim above it. What the protocol looks like
// stands in internal/control; this package only reads the ledger and hands the
// rest to its [Backend].
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// Backend is the daemon behind the socket. All methods are safe for concurrent
// use and may be called in every phase; what cannot be answered yet is a
// control.Error with control.CodeUnavailable.
type Backend interface {
	// Status must not block.
	Status() *control.Status

	// Live returns the open ledger, nil before it is open.
	Live() *projector.Live

	// Ps is the handle table where it cannot come from the ledger, because
	// that is damaged; nil: it can.
	Ps(ctx context.Context, all bool) (*control.Ps, error)

	// Unrecorded lists the handles whose program has ended while the ledger
	// cannot commit that.
	Unrecorded() []string

	Capsules() *control.Capsules

	// Trouble tells, by handle, what is wrong with live processes.
	Trouble() map[string]control.Trouble

	// Idle tells of the persistent processes that live, by handle, how long
	// nobody has used each.
	Idle() map[string]time.Duration

	// Invoke, Cancel and Stop act on behalf of an operator. When the context
	// ends, an invocation is cancelled; a stop goes on.
	Invoke(ctx context.Context, by event.Actor, in *control.Invocation) (*control.Answer, error)
	Cancel(ctx context.Context, by event.Actor, r *control.CancelRequest) (*control.CancelAnswer, error)
	Stop(ctx context.Context, by event.Actor, r *control.StopRequest) (*control.StopAnswer, error)

	// BackedUp records a copy of the ledger on behalf of an operator.
	BackedUp(ctx context.Context, by event.Actor, b *control.Backup) (*control.BackupAnswer, error)

	// Restart has another daemon take over, and returns once that has begun.
	Restart(ctx context.Context, by event.Actor, r *control.RestartRequest) (*control.RestartAnswer, error)

	// Logs calls chunk with each piece of a process's output, and flush before
	// it waits for more; it returns their errors.
	Logs(ctx context.Context, q *control.LogsQuery, chunk func(*control.LogChunk) error, flush func() error) error

	// Run runs a WASI command module on behalf of an operator and returns the
	// code with which it left. When the context ends it is cancelled. Both
	// writers may be written to at once.
	Run(ctx context.Context, by event.Actor, r *control.RunRequest, module []byte, stdin io.Reader, stdout, stderr io.Writer) (uint32, error)

	// Subscribe subscribes an operator to the bus. Its errors are those of the
	// bus.
	Subscribe(pattern string) (*ipc.Subscription, error)
}

// Options say how to serve.
type Options struct {
	Backend   Backend
	Operators []uint32     // uids that may use the socket
	Log       *slog.Logger // nil: nowhere
}

// Server serves one control socket.
type Server struct {
	o    Options
	http *http.Server
	base context.Context    // of every request
	stop context.CancelFunc // ends it: requests that would go on for ever end

	makingWay atomic.Bool // another daemon is to answer

	mu       sync.Mutex // held for accesses of what follows
	closing  bool
	listener net.Listener  // nil before Serve
	served   chan struct{} // closed once Serve has accepted its last connection

	// owed are the connections that have not had their answer: accepted, or with a
	// request under way. The state tells which.
	owed map[net.Conn]http.ConnState
}

// Bounds of a connection.
const (
	// maxBody bounds the body of a request: the largest payload, which stands
	// in it as the bytes that the guest gets, and the envelope. The largest
	// envelope is that of a cancel: 64 call ids of 256 bytes and a reason,
	// each byte escaped as six.
	maxBody = capsule.MaxPayload + 256<<10

	// idleBound is how long a connection may stay without a request. A client
	// makes a new one without noticing.
	idleBound = 2 * time.Minute
)

// New returns a server that does not serve yet.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	base, stop := context.WithCancel(context.Background())
	s := &Server{o: o, base: base, stop: stop, owed: map[net.Conn]http.ConnState{}}
	s.http = &http.Server{
		Handler:           s.front(s.routes()),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       idleBound,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withPeer,
		ConnState:         s.track,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve serves l until Shutdown; it returns nil then. It is called once.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return l.Close()
	}
	s.listener, s.served = l, make(chan struct{})
	s.mu.Unlock()
	defer close(s.served)
	err := s.http.Serve(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, http.ErrServerClosed) || s.closing && errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// stopAccepting has Serve return. Only then does the http.Server know of every
// connection that was accepted: one that its Shutdown does not know of would end
// without an answer.
func (s *Server) stopAccepting() {
	s.mu.Lock()
	s.closing = true
	l, served := s.listener, s.served
	s.mu.Unlock()
	if l != nil {
		_ = l.Close() // closed before is as good
		<-served
	}
}

// MakeWay ends followers and turns away whatever is asked from now on, but for the
// status: another daemon is about to answer. Shutdown follows.
func (s *Server) MakeWay() {
	s.makingWay.Store(true)
	s.stop()
}

// Shutdown takes no new connections, ends followers and waits for the other
// requests until ctx ends; then it cuts them off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	s.stopAccepting()
	s.answerAll(ctx)
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// restartPath is the request that is refused for good during a restart, and not
// put off.
const restartPath = "/v1/daemon/restart"

// runPath is the request that goes on for as long as a program runs.
const runPath = "/v1/run"

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+statusPath, s.status)
	mux.HandleFunc("GET /v1/ps", s.ps)
	mux.HandleFunc("GET /v1/events", s.events)
	mux.HandleFunc("GET /v1/ledger/newest", s.newest)
	mux.HandleFunc("GET /v1/capsules", s.capsules)
	mux.HandleFunc("GET /v1/logs", s.logs)
	mux.HandleFunc("GET /v1/bus", s.bus)
	mux.HandleFunc("POST /v1/invoke", post(checkInvocation, s.o.Backend.Invoke))
	mux.HandleFunc("POST /v1/cancel", post(checkCancel, s.o.Backend.Cancel))
	mux.HandleFunc("POST /v1/stop", post(checkStop, s.o.Backend.Stop))
	mux.HandleFunc("POST /v1/ledger/backed-up", post(checkBackup, s.o.Backend.BackedUp))
	mux.HandleFunc("POST "+restartPath, post(checkRestart, s.o.Backend.Restart))
	mux.HandleFunc("POST "+runPath, s.run)
	mux.HandleFunc("/", notFound)
	return mux
}

func notFound(w http.ResponseWriter, r *http.Request) {
	fail(w, control.Errorf(control.CodeUsage, "%s %s is not part of this protocol", r.Method, r.URL.Path).
		WithHint("GET /v1/status, /v1/ps, /v1/events, /v1/ledger/newest, /v1/capsules, /v1/logs, /v1/bus; POST /v1/invoke, /v1/cancel, /v1/stop, /v1/ledger/backed-up, /v1/daemon/restart, /v1/run"))
}

// front does what holds for every request: version, who may, and a log line.
func (s *Server) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(control.VersionHeader, strconv.Itoa(control.Version))
		p := peerOf(r.Context())
		if err := s.admit(p, r.Header.Get(control.VersionHeader)); err != nil {
			s.o.Log.Warn("control request refused", "path", r.URL.Path, "uid", p.uid, "pid", p.pid, "reason", err.Message)
			w.Header().Set("Connection", "close") // whoever may not ask may not hold a descriptor either
			fail(w, err)
			return
		}
		if s.makingWay.Load() && r.URL.Path != statusPath && r.URL.Path != restartPath {
			fail(w, errMakingWay())
			return
		}
		s.o.Log.Debug("control request", "method", r.Method, "path", r.URL.Path, "uid", p.uid, "pid", p.pid)
		if r.URL.Path != runPath { // whose body is as long as the program reads
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		next.ServeHTTP(w, r)
	})
}

// statusPath is the request that is answered at all times.
const statusPath = "/v1/status"

func errMakingWay() *control.Error {
	return control.Errorf(control.CodeRestarting, "the daemon is being restarted").WithHint("ask again in a moment")
}

// admit tells why a request is refused, nil if it is not.
func (s *Server) admit(p peer, version string) *control.Error {
	if p.err != nil {
		return control.Errorf(control.CodeDenied, "%v", p.err)
	}
	if !slices.Contains(s.o.Operators, p.uid) {
		return control.Errorf(control.CodeDenied, "uid %d may not use this daemon", p.uid).
			WithHint("its operators are %v; another is added by operators = [%d] in its configuration", s.o.Operators, p.uid)
	}
	if version == "" {
		return nil
	}
	if v, err := strconv.Atoi(version); err != nil || v > control.Version || v < 1 {
		return control.Errorf(control.CodeVersion, "the client speaks version %.20q of the protocol, this daemon version %d", version, control.Version).
			WithHint("use astridctl of the daemon's release, %s", s.o.Backend.Status().Version)
	}
	return nil
}

// answer sends v as JSON.
func answer(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n')) // a client that left needs no answer
}

// fail sends err as a control.Error.
func fail(w http.ResponseWriter, err error) {
	e := asControl(err)
	b, merr := json.Marshal(e)
	if merr != nil {
		http.Error(w, e.Message, e.Status())
		return
	}
	b = append(b, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b))) // it is whole before the handler returns
	w.WriteHeader(e.Status())
	_, _ = w.Write(b) // as above
}

// read decodes the JSON body of a request; an unknown field is an error, so
// that a misspelt one is not taken for "all".
func read(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		return control.Errorf(control.CodeUsage, "body of the request: more than %d bytes", big.Limit).
			WithHint("a payload may have %d bytes", capsule.MaxPayload)
	}
	if err != nil {
		return control.Errorf(control.CodeUsage, "body of the request: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return control.Errorf(control.CodeUsage, "body of the request: something follows the JSON value")
	}
	return nil
}

// params refuses parameters that a request does not have.
func params(r *http.Request, known ...string) error {
	for name := range r.URL.Query() {
		if !slices.Contains(known, name) {
			return control.Errorf(control.CodeUsage, "parameter %q is not known", name)
		}
	}
	return nil
}

// live returns the open ledger or why there is none.
func (s *Server) live() (*projector.Live, error) {
	if l := s.o.Backend.Live(); l != nil {
		return l, nil
	}
	st := s.o.Backend.Status()
	if st.Phase == control.PhaseDamaged {
		return nil, control.Errorf(control.CodeCorrupt, "the ledger is damaged: %s", st.Ledger.Error).WithHint("%s", st.Ledger.Remedy)
	}
	code := control.CodeUnavailable
	if st.Restart != nil {
		code = control.CodeRestarting
	}
	return nil, control.Errorf(code, "the daemon is %s and has not opened its ledger yet", st.Phase).WithHint("try again in a moment")
}

// operator is who is behind a request, for the ledger.
func operator(r *http.Request) event.Actor {
	return event.Actor{Kind: event.ActorOperator, UID: peerOf(r.Context()).uid, Role: "operator"}
}
