//go:build linux

package shim

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// Identity names one process for ever; see event.Identity, whose fields these
// are.
type Identity struct {
	PID          uint32 // as the machine's own /proc shows it; 0 if it could not be read
	StartTicks   uint64
	PidfsHandle  []byte
	PidNamespace uint64
}

// File names an executable by what it is, not only by what it is called.
type File struct {
	Path   string
	Device uint64
	Inode  uint64
	SHA256 []byte // empty if the file may be run but not read
}

// Ready is the record `ready`: the shim waits for "go".
type Ready struct {
	Version   uint32 // protocol version the shim speaks
	Shim      Identity
	Isolation string // what was applied: "pidns+mount", "userns+pidns", "none", …
	Boot      int64  // CLOCK_BOOTTIME ns
	Wall      int64  // ns since 1970
	BootID    []byte // 16 bytes: of the boot that Shim and Boot belong to
}

// Going is the record `go`: from here on the program may have run.
type Going struct {
	Boot int64 // CLOCK_BOOTTIME ns just before the record was written
	Wall int64 // the same moment, ns since 1970
}

// Started is the record `started`: the program was executed.
type Started struct {
	Program     Identity
	Shim        Identity
	Isolation   string
	Executable  File
	Interpreter *File // of a script
	Boot        int64
	Wall        int64
	BootID      []byte // 16 bytes
}

// StepFiles is Failed.Step where a file cannot be laid where it was asked for.
const StepFiles = "files"

// Failed is the record `failed`: the program was not executed.
type Failed struct {
	Step   string // "spec", "files", "jail", "record", "chdir", "resolve", "exec"
	Errno  uint32
	Detail string
	Boot   int64
	Wall   int64
}

// Stream tells what the program wrote on one stream.
type Stream struct {
	Bytes   uint64
	SHA256  []byte
	Dropped uint64 // bytes overwritten in the ring before the daemon had read them
}

// Exit is the record `exit`: how the program ended. Exactly one of Code and
// Signal is meaningful; Signaled says which.
type Exit struct {
	Signaled bool
	Code     int32
	Signal   int32
	Core     bool

	Cause string // "self", or the cause of the order or request that ended it
	Order string // "lifetime" or "orphan" if a standing order fired, else empty
	Due   int64  // CLOCK_BOOTTIME ns at which that order was due

	UserNano   int64
	SystemNano int64
	MaxRSSKiB  uint64
	Stdout     Stream
	Stderr     Stream
	RestKilled uint32
	Boot       int64
	Wall       int64
}

func appendIdentity(b []byte, n protowire.Number, i Identity) []byte {
	m := appendNum(nil, 1, uint64(i.PID))
	m = appendNum(m, 2, i.StartTicks)
	m = appendBytes(m, 3, i.PidfsHandle)
	m = appendNum(m, 4, i.PidNamespace)
	return appendBytes(b, n, m)
}

func decodeIdentity(b []byte) (i Identity, err error) {
	err = eachField(b, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			i.PID = uint32(v.num)
		case 2:
			i.StartTicks = v.num
		case 3:
			i.PidfsHandle = v.b
		case 4:
			i.PidNamespace = v.num
		}
		return nil
	})
	return i, err
}

func appendFile(b []byte, n protowire.Number, f File) []byte {
	m := appendText(nil, 1, f.Path)
	m = appendNum(m, 2, f.Device)
	m = appendNum(m, 3, f.Inode)
	return appendMessage(b, n, appendBytes(m, 4, f.SHA256))
}

func decodeFile(b []byte) (f File, err error) {
	err = eachField(b, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			f.Path = v.text()
		case 2:
			f.Device = v.num
		case 3:
			f.Inode = v.num
		case 4:
			f.SHA256 = v.b
		}
		return nil
	})
	return f, err
}

func appendStream(b []byte, n protowire.Number, s Stream) []byte {
	m := appendNum(nil, 1, s.Bytes)
	m = appendBytes(m, 2, s.SHA256)
	return appendBytes(b, n, appendNum(m, 3, s.Dropped))
}

func decodeStream(b []byte) (s Stream, err error) {
	err = eachField(b, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			s.Bytes = v.num
		case 2:
			s.SHA256 = v.b
		case 3:
			s.Dropped = v.num
		}
		return nil
	})
	return s, err
}

// EncodeReady returns the wire form of r.
func EncodeReady(r *Ready) []byte {
	b := appendNum(nil, 1, uint64(r.Version))
	b = appendIdentity(b, 2, r.Shim)
	b = appendText(b, 3, r.Isolation)
	b = appendNum(b, 4, uint64(r.Boot))
	b = appendNum(b, 5, uint64(r.Wall))
	return appendBytes(b, 6, r.BootID)
}

// DecodeReady reads what EncodeReady wrote.
func DecodeReady(b []byte) (*Ready, error) {
	r := &Ready{}
	err := eachField(b, func(n protowire.Number, v value) (err error) {
		switch n {
		case 1:
			r.Version = uint32(v.num)
		case 2:
			r.Shim, err = decodeIdentity(v.b)
		case 3:
			r.Isolation = v.text()
		case 4:
			r.Boot = int64(v.num)
		case 5:
			r.Wall = int64(v.num)
		case 6:
			r.BootID = v.b
		}
		return err
	})
	return r, err
}

// EncodeGoing returns the wire form of g.
func EncodeGoing(g *Going) []byte {
	return appendNum(appendNum(nil, 1, uint64(g.Boot)), 2, uint64(g.Wall))
}

// EncodeStarted returns the wire form of s.
func EncodeStarted(s *Started) []byte {
	b := appendIdentity(nil, 1, s.Program)
	b = appendIdentity(b, 2, s.Shim)
	b = appendText(b, 3, s.Isolation)
	b = appendFile(b, 4, s.Executable)
	if s.Interpreter != nil {
		b = appendFile(b, 5, *s.Interpreter)
	}
	b = appendNum(b, 6, uint64(s.Boot))
	b = appendNum(b, 7, uint64(s.Wall))
	return appendBytes(b, 8, s.BootID)
}

// DecodeStarted reads what EncodeStarted wrote.
func DecodeStarted(b []byte) (*Started, error) {
	s := &Started{}
	err := eachField(b, func(n protowire.Number, v value) (err error) {
		switch n {
		case 1:
			s.Program, err = decodeIdentity(v.b)
		case 2:
			s.Shim, err = decodeIdentity(v.b)
		case 3:
			s.Isolation = v.text()
		case 4:
			s.Executable, err = decodeFile(v.b)
		case 5:
			s.Interpreter = new(File)
			*s.Interpreter, err = decodeFile(v.b)
		case 6:
			s.Boot = int64(v.num)
		case 7:
			s.Wall = int64(v.num)
		case 8:
			s.BootID = v.b
		}
		return err
	})
	return s, err
}

// EncodeFailed returns the wire form of f.
func EncodeFailed(f *Failed) []byte {
	b := appendText(nil, 1, f.Step)
	b = appendNum(b, 2, uint64(f.Errno))
	b = appendText(b, 3, f.Detail)
	b = appendNum(b, 4, uint64(f.Boot))
	return appendNum(b, 5, uint64(f.Wall))
}

// DecodeFailed reads what EncodeFailed wrote.
func DecodeFailed(b []byte) (*Failed, error) {
	f := &Failed{}
	err := eachField(b, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			f.Step = v.text()
		case 2:
			f.Errno = uint32(v.num)
		case 3:
			f.Detail = v.text()
		case 4:
			f.Boot = int64(v.num)
		case 5:
			f.Wall = int64(v.num)
		}
		return nil
	})
	return f, err
}

// EncodeExit returns the wire form of e.
func EncodeExit(e *Exit) []byte {
	b := appendBool(nil, 1, e.Signaled)
	b = appendNum(b, 2, uint64(uint32(e.Code)))
	b = appendNum(b, 3, uint64(uint32(e.Signal)))
	b = appendBool(b, 4, e.Core)
	b = appendText(b, 5, e.Cause)
	b = appendText(b, 6, e.Order)
	b = appendNum(b, 7, uint64(e.Due))
	b = appendNum(b, 8, uint64(e.UserNano))
	b = appendNum(b, 9, uint64(e.SystemNano))
	b = appendNum(b, 10, e.MaxRSSKiB)
	b = appendStream(b, 11, e.Stdout)
	b = appendStream(b, 12, e.Stderr)
	b = appendNum(b, 13, uint64(e.RestKilled))
	b = appendNum(b, 14, uint64(e.Boot))
	return appendNum(b, 15, uint64(e.Wall))
}

// DecodeExit reads what EncodeExit wrote.
func DecodeExit(b []byte) (*Exit, error) {
	e := &Exit{}
	err := eachField(b, e.set)
	return e, err
}

func (e *Exit) set(n protowire.Number, v value) (err error) {
	switch n {
	case 1:
		e.Signaled = v.num != 0
	case 2:
		e.Code = int32(uint32(v.num))
	case 3:
		e.Signal = int32(uint32(v.num))
	case 4:
		e.Core = v.num != 0
	case 5:
		e.Cause = v.text()
	case 6:
		e.Order = v.text()
	case 7:
		e.Due = int64(v.num)
	case 8:
		e.UserNano = int64(v.num)
	case 9:
		e.SystemNano = int64(v.num)
	case 10:
		e.MaxRSSKiB = v.num
	case 11:
		e.Stdout, err = decodeStream(v.b)
	case 12:
		e.Stderr, err = decodeStream(v.b)
	case 13:
		e.RestKilled = uint32(v.num)
	case 14:
		e.Boot = int64(v.num)
	case 15:
		e.Wall = int64(v.num)
	}
	return err
}
