//go:build linux

package shim

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

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

const (
	specVersion   = protowire.Number(1)
	specID        = protowire.Number(2)
	specArg       = protowire.Number(3)
	specPath      = protowire.Number(4)
	specEnv       = protowire.Number(5)
	specDir       = protowire.Number(6)
	specRing      = protowire.Number(7)
	specLifetime  = protowire.Number(8)
	specGrace     = protowire.Number(9)
	specOrphan    = protowire.Number(10)
	specIsolation = protowire.Number(11)
	specStdin     = protowire.Number(12)
	specKeep      = protowire.Number(13)
	specPressure  = protowire.Number(14)
	specFile      = protowire.Number(15)
	specWorkspace = protowire.Number(16)
	specProcesses = protowire.Number(17)
)

// EncodeSpec returns the wire form of s.
func EncodeSpec(s *Spec) []byte {
	b := appendNum(nil, specVersion, ProtocolVersion)
	b = appendBytes(b, specID, s.ID)
	for _, a := range s.Argv {
		b = appendElement(b, specArg, a)
	}
	b = appendText(b, specPath, s.Path)
	for _, e := range s.Env {
		b = appendElement(b, specEnv, e)
	}
	b = appendText(b, specDir, s.Dir)
	b = appendNum(b, specRing, uint64(s.RingBytes))
	b = appendNum(b, specLifetime, uint64(s.Orders.LifetimeNano))
	b = appendNum(b, specGrace, uint64(s.Orders.GraceNano))
	b = appendNum(b, specOrphan, uint64(s.Orders.OrphanNano))
	b = appendText(b, specIsolation, s.Isolation)
	b = appendBool(b, specStdin, s.HasStdin)
	b = appendBool(b, specKeep, s.KeepStdin)
	b = appendBool(b, specPressure, s.Backpressure)
	for _, f := range s.Files {
		m := appendText(nil, 1, f.EnvKey)
		m = appendText(m, 2, f.Path)
		b = appendMessage(b, specFile, appendNum(m, 3, f.Size))
	}
	b = appendText(b, specWorkspace, s.Ground.Workspace)
	return appendText(b, specProcesses, s.Ground.Processes)
}

// DecodeSpec reads what EncodeSpec wrote. A spec without a command or with an
// isolation that this build does not know is an error: a shim that does not
// understand what it is to contain must not run it.
func DecodeSpec(b []byte) (*Spec, error) {
	s := &Spec{}
	if err := eachField(b, s.set); err != nil {
		return nil, errSpec
	}
	if s.Path == "" || len(s.Argv) == 0 {
		return nil, errSpec
	}
	if s.Isolation != IsolationPIDNS && s.Isolation != IsolationNone {
		return nil, errSpec
	}
	return s, nil
}

func (s *Spec) set(n protowire.Number, v value) error {
	switch n {
	case specID:
		s.ID = v.b
	case specArg:
		s.Argv = append(s.Argv, v.text())
	case specPath:
		s.Path = v.text()
	case specEnv:
		s.Env = append(s.Env, v.text())
	case specDir:
		s.Dir = v.text()
	case specRing:
		s.RingBytes = uint32(v.num)
	case specLifetime:
		s.Orders.LifetimeNano = int64(v.num)
	case specGrace:
		s.Orders.GraceNano = int64(v.num)
	case specOrphan:
		s.Orders.OrphanNano = int64(v.num)
	case specIsolation:
		s.Isolation = v.text()
	case specStdin:
		s.HasStdin = v.num != 0
	case specKeep:
		s.KeepStdin = v.num != 0
	case specPressure:
		s.Backpressure = v.num != 0
	case specFile:
		f, err := decodeInjectedFile(v.b)
		s.Files = append(s.Files, f)
		return err
	case specWorkspace:
		s.Ground.Workspace = v.text()
	case specProcesses:
		s.Ground.Processes = v.text()
	}
	return nil
}

func decodeInjectedFile(b []byte) (f InjectedFile, err error) {
	err = eachField(b, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			f.EnvKey = v.text()
		case 2:
			f.Path = v.text()
		case 3:
			f.Size = v.num
		}
		return nil
	})
	return f, err
}
