//go:build linux

package worldcheck

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/ledger/event"
)

// A test program appends lines to a file of its own, named by that argument of
// it that begins with Prefix, in the directory that its variable WITNESS names:
//
//	start            it runs
//	tells            all of what follows is true of it; without this line only
//	                 start and end mean anything
//	nonce-NAME K     it writes the same line to its output next; with a third
//	                 word P, that line ends in P more characters "x"
//	told SIGNAL      a handler of INT or TERM has run
//	code N           it exits with N next; the last one counts
//	end              it came to its own end
//
// So the file is always ahead of the output, by one line at most.
// internal/daemontest has such programs.

// testimony is what one program wrote.
type testimony struct {
	starts, ends int
	tells        bool
	told         map[string]int
	code         int // that it wrote last; -1: none, or it went on after it
	output       []byte
	last         int // length of the last line of output
}

// testify reads the file of a nonce.
func (w World) testify(nonce string) *testimony {
	t := &testimony{told: map[string]int{}, code: -1}
	b, err := os.ReadFile(filepath.Join(w.Witness, nonce))
	if err != nil {
		return t
	}
	for line := range strings.Lines(string(b)) {
		t.take(strings.TrimSuffix(line, "\n"))
	}
	return t
}

func (t *testimony) take(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch {
	case line == "start":
		t.starts++
	case line == "end":
		t.ends++
	case line == "tells":
		t.tells = true
	case word == "told":
		t.told[rest]++
	case word == "code":
		if n, err := strconv.Atoi(rest); err == nil {
			t.code = n
		}
	case strings.HasPrefix(line, Prefix):
		at := len(t.output)
		t.code = -1
		t.output = append(t.output, line...)
		if f := strings.Fields(line); len(f) == 3 {
			n, _ := strconv.Atoi(f[2])
			t.output = append(t.output, bytes.Repeat([]byte("x"), n)...)
		}
		t.output = append(t.output, '\n')
		t.last = len(t.output) - at
	}
}

// witness compares what the programs wrote with what the ledger says of them.
func (w World) witness(c *Checker) (problems sentences) {
	if w.Witness == "" {
		return nil
	}
	for nonce, id := range c.nonces {
		s := c.stories[id]
		if s.final {
			continue
		}
		before := len(problems)
		w.story(&problems, id, s)
		if s.released && len(problems) == before && w.Forget {
			s.final = true
			_ = os.Remove(filepath.Join(w.Witness, nonce))
		}
	}
	for _, name := range w.files() {
		switch id, known := c.nonces[name]; {
		case !known:
			problems.say("%s ran, and no granted spawn of the ledger names it", name)
		case c.stories[id].final:
			problems.say("%s: %s wrote on after it was released", id, name)
		}
	}
	return problems
}

// story compares one handle with its program's own words.
func (w World) story(problems *sentences, id ulid.ULID, s *story) {
	// The ring before the file: so the file is ahead of what was read.
	r, err := readRing(filepath.Join(w.Data, "processes", id.String()), ringStdout)
	if err != nil && !s.released {
		problems.say("%s: %v", id, err)
	}
	t := w.testify(s.nonce)
	yes, maybe := s.ran()
	switch {
	case t.starts > 1 || t.ends > 1:
		problems.say("%s: %s ran %d times and ended %d times", id, s.nonce, t.starts, t.ends)
	case t.starts > 0 && !maybe:
		problems.say("%s: %s ran, and the ledger says that it did not (%v)", id, s.nonce, s.end)
	case yes && s.exit != nil && s.exit.Exit.Code != nil && *s.exit.Exit.Code == 0 && s.exit.Cause == "self" && (t.starts == 0 || t.ends == 0):
		problems.say("%s: the ledger says that %s ran to its end, and it did not", id, s.nonce)
	}
	if !t.tells {
		return
	}
	t.exit(problems, id, s)
	t.signals(problems, id, s)
	if s.exit != nil {
		t.stream(problems, id, s.exit)
	}
	if r != nil {
		t.ring(problems, id, r)
	}
}

// exit compares how it ended: a code is claimed only where the program wrote
// it, and a program that wrote one did not end otherwise, unless it was killed
// in that moment.
func (t *testimony) exit(problems *sentences, id ulid.ULID, s *story) {
	claimed := (*event.Exit)(nil)
	switch {
	case s.exit != nil:
		claimed = &s.exit.Exit
	case s.lost != nil:
		claimed = s.lost.Witness
	}
	switch {
	case claimed == nil:
	case claimed.Code != nil && int(*claimed.Code) != t.code:
		problems.say("%s: the ledger says that it left with code %d, and the program wrote %s", id, *claimed.Code, t.codeText())
	case claimed.Signal != nil && *claimed.Signal != int32(unix.SIGKILL) && t.code >= 0:
		problems.say("%s: the ledger says that it left by signal %d, and the program wrote %s", id, *claimed.Signal, t.codeText())
	}
}

func (t *testimony) codeText() string {
	if t.code < 0 {
		return "no code"
	}
	return "code " + strconv.Itoa(t.code)
}

// lateBound is how long before its end a program must have been signalled for
// its handler to have run, on a machine that is busy with other tests.
const lateBound = int64(5e9)

// signals compares the handlers that ran with the signals of the ledger: none
// came that nobody had asked for, and none is called delivered that a program
// which ended by itself much later never saw.
func (t *testimony) signals(problems *sentences, id ulid.ULID, s *story) {
	for name, number := range map[string]uint32{"INT": uint32(unix.SIGINT), "TERM": uint32(unix.SIGTERM)} {
		asked := s.asked[number]
		if name == "TERM" && (s.timers["lifetime"] || s.end == event.KindProcessLost) {
			asked++ // the shim's own, while no daemon was there; a killed shim tells of none
		}
		if t.told[name] > asked {
			problems.say("%s: the program was told %s %d times, and the ledger asked for it %d times", id, name, t.told[name], asked)
		}
		if s.exit == nil || s.exit.Exit.Code == nil {
			continue
		}
		for _, e := range s.sent {
			if e.signal == number && t.told[name] == 0 && s.exit.EndedBoot-e.boot > lateBound {
				problems.say("%s: the ledger says that %s was delivered, and the program was never told", id, name)
			}
		}
	}
}

// stream compares the output that the ledger tells of with what the program
// says it wrote: all of it where it ended by itself, and all but the last line
// where it may have been killed between the file and the output.
func (t *testimony) stream(problems *sentences, id ulid.ULID, e *event.ProcessExited) {
	n, all := int(e.Stdout.Bytes), len(t.output)
	least := all
	if t.code < 0 {
		least -= t.last
	}
	if n < least || n > all {
		problems.say("%s: the ledger says that it wrote %d bytes, and the program says %d to %d", id, n, least, all)
		return
	}
	if sum := sha256.Sum256(t.output[:n]); !bytes.Equal(sum[:], e.Stdout.SHA256) {
		problems.say("%s: the ledger says that its output has the SHA-256 %x, and the program wrote %x", id, e.Stdout.SHA256, sum)
	}
}

// ring compares what can still be read with what the program says it wrote.
func (t *testimony) ring(problems *sentences, id ulid.ULID, r *ring) {
	to := r.from + uint64(len(r.kept))
	switch {
	case to > uint64(len(t.output)):
		problems.say("%s: its ring has %d bytes, and the program says that it wrote %d", id, to, len(t.output))
	case !bytes.Equal(r.kept, t.output[r.from:to]):
		problems.say("%s: its ring does not hold what the program wrote (bytes %d to %d)", id, r.from, to)
	}
}

// files are the nonces of all programs that wrote anything.
func (w World) files() (names []string) {
	entries, err := os.ReadDir(w.Witness)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), Prefix) {
			names = append(names, e.Name())
		}
	}
	return names
}
