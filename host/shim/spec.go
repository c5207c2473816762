//go:build linux

package shim

import "errors"

// Isolation names, as a Spec asks for them.
const (
	IsolationPIDNS = "pidns" // PID 1 of a namespace of its own
	IsolationNone  = "none"  // a subreaper, in the daemon's namespaces
)

// Orders are what the shim carries out alone while no daemon is there.
type Orders struct {
	// LifetimeNano is how long after its start the program may run,
	// CLOCK_BOOTTIME ns; 0: no bound. Then TERM to the tree, GraceNano, KILL.
	LifetimeNano int64

	// GraceNano is how long after that TERM the KILL comes, ns.
	GraceNano int64

	// OrphanNano is how long the program may run without a daemon's
	// connection, ns; 0: for ever. Then KILL of the tree.
	OrphanNano int64
}

// Spec is what a shim is to run. It reaches the shim in a memfd, never in a
// file: it holds the values of environment variables.
type Spec struct {
	ID        []byte // 16 bytes, the handle; also the name of the process directory
	Argv      []string
	Path      string   // the command as given: with a slash it is a path, else it is looked up in PATH of Env
	Env       []string // KEY=VALUE, the program's whole environment
	Dir       string   // absolute working directory
	RingBytes uint32   // bytes of output kept a stream
	Orders    Orders
	Isolation string // IsolationPIDNS or IsolationNone
	HasStdin  bool   // a fifth descriptor is the program's standard input; else it reads /dev/null

	// KeepStdin has the standard input stay open, as a pipe, after what the
	// fifth descriptor holds.
	KeepStdin bool

	// Backpressure has the program wait where its output is not drained; else
	// the oldest output is dropped.
	Backpressure bool

	// Files are laid before the program; their contents stand in the last
	// descriptor. Ground says where they may be laid.
	Files  []InjectedFile
	Ground Ground
}

// filesFD is the descriptor of the injected files' contents.
func (s *Spec) filesFD() int {
	if s.HasStdin {
		return shimStdin + 1
	}
	return shimStdin
}

var errSpec = errors.New("malformed spawn spec")

// EncodeSpec returns the wire form of s.
func EncodeSpec(s *Spec) []byte { return encode(s) }

// DecodeSpec reads what EncodeSpec wrote. A spec without a command or with an
// isolation that this build does not know is an error: a shim that does not
// understand what it is to contain must not run it.
func DecodeSpec(b []byte) (*Spec, error) {
	s, err := decoded[Spec](b)
	if err != nil || s.Path == "" || len(s.Argv) == 0 {
		return nil, errSpec
	}
	if s.Isolation != IsolationPIDNS && s.Isolation != IsolationNone {
		return nil, errSpec
	}
	return s, nil
}

func (s *Spec) fields(c *codec) {
	version := uint32(ProtocolVersion)
	number(c, 1, &version)
	raw(c, 2, &s.ID)
	texts(c, 3, &s.Argv)
	text(c, 4, &s.Path)
	texts(c, 5, &s.Env)
	text(c, 6, &s.Dir)
	number(c, 7, &s.RingBytes)
	number(c, 8, &s.Orders.LifetimeNano)
	number(c, 9, &s.Orders.GraceNano)
	number(c, 10, &s.Orders.OrphanNano)
	text(c, 11, &s.Isolation)
	boolean(c, 12, &s.HasStdin)
	boolean(c, 13, &s.KeepStdin)
	boolean(c, 14, &s.Backpressure)
	list(c, 15, &s.Files)
	text(c, 16, &s.Ground.Workspace)
	text(c, 17, &s.Ground.Processes)
}

func (f *InjectedFile) fields(c *codec) {
	text(c, 1, &f.EnvKey)
	text(c, 2, &f.Path)
	number(c, 3, &f.Size)
}
