package process

import "time"

// Request says what to run. Only Cmd has to be set.
type Request struct {
	// Cmd is the program: a name that is looked up in PATH, or a path. It must
	// stand in the manifest exactly like this.
	Cmd  string
	Args []string

	// Stdin is what the program reads, at most 4 MiB. Then it sees the end,
	// unless KeepStdinOpen. nil: the end at once.
	Stdin []byte

	// Env is set on top of PATH, the locale and TZ, which come from the host.
	// At most 256 variables of at most 64 KiB each.
	Env []Var

	// Dir is relative to the workspace; empty means the workspace itself.
	Dir string

	Limits *Limits

	// Files are shown to the program read-only; neither it nor the capsule can
	// change them. At most 128, of 8 MiB each and 16 MiB together.
	Files []File

	// What follows counts for SpawnPersistent only.

	// Label is a name for people, at most 128 bytes, by which List finds the
	// process. Empty: the command.
	Label string

	// KeepStdinOpen lets WriteStdin go on after Stdin.
	KeepStdinOpen bool

	// Overflow says what happens when a program writes faster than anybody
	// reads.
	Overflow Overflow

	// RingBytes is how much unread output of each stream is kept, 4 KiB to
	// 8 MiB; 0 stands for 1 MiB.
	RingBytes uint32

	// Lifetime is how long the process may run at most, then it is ended; 0
	// stands for the most that is possible, 6 h.
	Lifetime time.Duration

	// Idle is how long it may run without being asked anything, then it is
	// ended; 0 stands for 30 min. A wait in progress keeps it from being idle.
	Idle time.Duration

	// Retention is how long its output and its end can be asked for after it
	// has ended; 0 stands for 5 min. At most 1 h.
	Retention time.Duration
}

// Var is one variable of a program's environment.
type Var struct{ Key, Value string }

// Limits are resource limits; 0 asks for none.
type Limits struct {
	MemoryBytes uint64
	CPUSeconds  uint64
	Processes   uint32
	OpenFiles   uint32
}

// File is a file that the host makes for one program. Either Env or Path is
// set.
type File struct {
	Content []byte

	// Env is the name of a variable that tells the program where the host has
	// put the file.
	Env string

	// Path is where the program finds the file: absolute, without "..".
	Path string
}

// Overflow says what happens to output that nobody reads.
type Overflow uint8

// The ways of overflow.
const (
	// DropOldest keeps the newest; reads tell how much was lost.
	DropOldest Overflow = iota

	// Backpressure loses nothing: the program stands still in its writing until
	// somebody has drained the output by ReadLogs.
	Backpressure
)

// check refuses what the host could not be asked for.
func (r *Request) check() error {
	if err := valid("the request's command, directory or label", r.Cmd, r.Dir, r.Label); err != nil {
		return err
	}
	if err := valid("an argument", r.Args...); err != nil {
		return err
	}
	for _, v := range r.Env {
		if err := valid("a variable", v.Key, v.Value); err != nil {
			return err
		}
	}
	for _, f := range r.Files {
		if (f.Env == "") == (f.Path == "") {
			return &Error{Code: InvalidInput, Detail: "a file needs a variable or a path, and not both"}
		}
		if err := valid("a file's variable or path", f.Env, f.Path); err != nil {
			return err
		}
	}
	if min(r.Lifetime, r.Idle, r.Retention) < 0 {
		return &Error{Code: InvalidInput, Detail: "a duration is negative"}
	}
	return nil
}

// milliseconds rounds up, so that a short wait does not become none.
func milliseconds(d time.Duration) uint64 {
	return uint64((max(d, 0) + time.Millisecond - 1) / time.Millisecond)
}
