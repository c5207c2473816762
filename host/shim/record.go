//go:build linux

package shim

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

func (i *Identity) fields(c *codec) {
	number(c, 1, &i.PID)
	number(c, 2, &i.StartTicks)
	raw(c, 3, &i.PidfsHandle)
	number(c, 4, &i.PidNamespace)
}

func (f *File) fields(c *codec) {
	text(c, 1, &f.Path)
	number(c, 2, &f.Device)
	number(c, 3, &f.Inode)
	raw(c, 4, &f.SHA256)
}

func (s *Stream) fields(c *codec) {
	number(c, 1, &s.Bytes)
	raw(c, 2, &s.SHA256)
	number(c, 3, &s.Dropped)
}

func (r *Ready) fields(c *codec) {
	number(c, 1, &r.Version)
	part(c, 2, &r.Shim)
	text(c, 3, &r.Isolation)
	number(c, 4, &r.Boot)
	number(c, 5, &r.Wall)
	raw(c, 6, &r.BootID)
}

func (g *Going) fields(c *codec) {
	number(c, 1, &g.Boot)
	number(c, 2, &g.Wall)
}

func (s *Started) fields(c *codec) {
	part(c, 1, &s.Program)
	part(c, 2, &s.Shim)
	text(c, 3, &s.Isolation)
	part(c, 4, &s.Executable)
	optional(c, 5, &s.Interpreter)
	number(c, 6, &s.Boot)
	number(c, 7, &s.Wall)
	raw(c, 8, &s.BootID)
}

func (f *Failed) fields(c *codec) {
	text(c, 1, &f.Step)
	number(c, 2, &f.Errno)
	text(c, 3, &f.Detail)
	number(c, 4, &f.Boot)
	number(c, 5, &f.Wall)
}

func (e *Exit) fields(c *codec) {
	boolean(c, 1, &e.Signaled)
	small(c, 2, &e.Code)
	small(c, 3, &e.Signal)
	boolean(c, 4, &e.Core)
	text(c, 5, &e.Cause)
	text(c, 6, &e.Order)
	number(c, 7, &e.Due)
	number(c, 8, &e.UserNano)
	number(c, 9, &e.SystemNano)
	number(c, 10, &e.MaxRSSKiB)
	part(c, 11, &e.Stdout)
	part(c, 12, &e.Stderr)
	number(c, 13, &e.RestKilled)
	number(c, 14, &e.Boot)
	number(c, 15, &e.Wall)
}

// EncodeReady returns the wire form of r.
func EncodeReady(r *Ready) []byte { return encode(r) }

// DecodeReady reads what EncodeReady wrote.
func DecodeReady(b []byte) (*Ready, error) { return decoded[Ready](b) }

// EncodeGoing returns the wire form of g.
func EncodeGoing(g *Going) []byte { return encode(g) }

// EncodeStarted returns the wire form of s.
func EncodeStarted(s *Started) []byte { return encode(s) }

// DecodeStarted reads what EncodeStarted wrote.
func DecodeStarted(b []byte) (*Started, error) { return decoded[Started](b) }

// EncodeFailed returns the wire form of f.
func EncodeFailed(f *Failed) []byte { return encode(f) }

// DecodeFailed reads what EncodeFailed wrote.
func DecodeFailed(b []byte) (*Failed, error) { return decoded[Failed](b) }

// EncodeExit returns the wire form of e.
func EncodeExit(e *Exit) []byte { return encode(e) }

// DecodeExit reads what EncodeExit wrote.
func DecodeExit(b []byte) (*Exit, error) { return decoded[Exit](b) }
