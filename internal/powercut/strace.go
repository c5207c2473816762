package powercut

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// TracedCalls are the system calls that a trace has to hold, as strace's
// option -e takes them: all that change files or make changes durable, and the
// messages by which a process tells others.
const TracedCalls = "open,openat,openat2,creat,write,pwrite64,pwritev,pwritev2,writev,ftruncate,truncate,fallocate," +
	"rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,copy_file_range,sendfile,splice," +
	"fsync,fdatasync,sync_file_range,sync,syncfs,msync,sendmsg,sendto,close"

// Call is one system call of a trace.
type Call struct {
	PID  int
	Name string
	Args []Arg
	Ret  int64 // what it returned; −1: an error
	Into Arg   // the descriptor that it returned, with what that stands for

	// Enter and Exit are positions in the trace: what has an Exit below
	// another call's Enter was over when that began.
	Enter, Exit int
}

// Arg is one argument of a call.
type Arg struct {
	Raw  string // as strace printed it
	FD   int    // of a descriptor; −1: of none; AtCWD
	Path string // what the descriptor stands for
	Gone bool   // that has no name any more
	Str  []byte // of a string, or of the parts of a vector one after another
}

// AtCWD stands for AT_FDCWD in Arg.FD.
const AtCWD = -100

// ReadCalls reads what `strace -f -yy -s BIG -o FILE` wrote and returns the
// calls in the order in which they began. A call that never returned has an
// Exit beyond the end. Positions are line numbers.
func ReadCalls(r io.Reader) (calls []*Call, end int, err error) {
	in := bufio.NewReaderSize(r, 1<<20)
	open := map[int]*pending{}
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF && line == "" {
			break
		}
		if err != nil && err != io.EOF {
			return nil, 0, err
		}
		c, err := readLine(strings.TrimSuffix(line, "\n"), end, open)
		if err != nil {
			return nil, 0, fmt.Errorf("trace, line %d: %w", end+1, err)
		}
		if c != nil {
			calls = append(calls, c)
		}
		end++
	}
	for _, p := range open { // its process died in it
		p.call.Exit = end
	}
	return calls, end, nil
}

// pending is a call that has begun and not returned.
type pending struct {
	call *Call
	text string // of its arguments, as far as they are known
}

const (
	unfinished = " <unfinished ...>"
	resumed    = " resumed>"

	// unknown stands for a call of a process that was killed before strace
	// could look at it: it never began.
	unknown = "???"
)

// readLine returns the call that begins with a line, and completes the one that
// ends with it.
func readLine(line string, at int, open map[int]*pending) (*Call, error) {
	number, rest, ok := strings.Cut(line, " ")
	pid, err := strconv.Atoi(number)
	if !ok || err != nil {
		return nil, fmt.Errorf("no process id: %.80q", line)
	}
	rest = strings.TrimLeft(rest, " ")
	switch {
	case strings.HasPrefix(rest, "+++"):
		if p := open[pid]; p != nil { // it died in the call
			p.call.Exit = at
			delete(open, pid)
		}
		return nil, nil
	case strings.HasPrefix(rest, "---"), strings.HasPrefix(rest, unknown), strings.HasPrefix(rest, "<... "+unknown):
		return nil, nil
	case strings.HasPrefix(rest, "<... "):
		return nil, finish(rest, pid, at, open)
	}
	name, text, ok := strings.Cut(rest, "(")
	if !ok {
		return nil, fmt.Errorf("no call: %.80q", rest)
	}
	c := &Call{PID: pid, Name: name, Enter: at, Exit: at, Ret: -1, Into: Arg{FD: -1}}
	if before, ok := strings.CutSuffix(text, unfinished); ok {
		open[pid] = &pending{call: c, text: before}
		c.Args, _, err = readArgs(before)
		return c, err
	}
	return c, c.complete(text)
}

// finish completes the call of a process that a line resumes.
func finish(rest string, pid, at int, open map[int]*pending) error {
	_, text, ok := strings.Cut(rest, resumed)
	p := open[pid]
	if !ok || p == nil {
		return fmt.Errorf("nothing to resume: %.80q", rest)
	}
	delete(open, pid)
	p.call.Exit = at
	return p.call.complete(p.text + text)
}

// complete reads arguments and result.
func (c *Call) complete(text string) (err error) {
	args, rest, err := readArgs(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	c.Args = args
	_, result, ok := strings.Cut(rest, "= ")
	if !ok {
		return fmt.Errorf("%s has no result: %.80q", c.Name, rest)
	}
	if c.Into, _, err = readArg(result); err != nil {
		return fmt.Errorf("%s: result: %w", c.Name, err)
	}
	number := strings.FieldsFunc(result, func(r rune) bool { return r != '-' && (r < '0' || r > '9') })
	if strings.HasPrefix(result, "?") || len(number) == 0 { // it never came back
		return nil
	}
	c.Ret, err = strconv.ParseInt(number[0], 10, 64)
	return err
}
