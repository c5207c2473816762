package powercut

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// promise says that from a position of the trace on an event is in the ledger,
// whatever becomes of the machine: somebody outside knows of it, or of what it
// allowed.
type promise struct {
	at  int
	seq uint64
	why string
}

// truth is what the ledger held in the end, and what was promised on the way.
type truth struct {
	events   []*event.Event
	raw      [][]byte
	promises []promise
	records  []kept            // in the order of the trace
	goes     map[ulid.ULID]int // the position at which go was sent
}

// kept says that from a position of the trace on a process's exit record is on
// the disk, as its shim knows, which leaves then.
type kept struct {
	at     int
	handle ulid.ULID
}

// newTruth reads the ledger that the recorded daemons left, and looks through
// the trace for what they promised.
func newTruth(t *testing.T, site *daemontest.Site, calls []*Call) *truth {
	t.Helper()
	tr := &truth{}
	tr.read(t, site.Data)
	tr.followed(t, calls)
	tr.answered(t, calls)
	tr.acted(t, calls)
	tr.kept(t, calls)
	slices.SortFunc(tr.promises, func(a, b promise) int { return a.at - b.at })
	return tr
}

func (tr *truth) promise(at int, e *event.Event, why string) {
	tr.promises = append(tr.promises, promise{at, e.Seq, fmt.Sprintf("%s: event %d, %v %s", why, e.Seq, e.Kind(), e.Handle)})
}

// toClient tells whether a call writes to a client of the control socket, and
// names the connection.
func toClient(c *Call) (connection string, ok bool) {
	if c.Name != "write" || !strings.HasPrefix(c.Args[0].Path, "UNIX-STREAM:") || !strings.Contains(c.Args[0].Path, "/control.sock") {
		return "", false
	}
	return c.Args[0].Path, true
}

// followed finds the events that followers were sent. A message's bytes are in
// the trace as they went over the socket.
func (tr *truth) followed(t *testing.T, calls []*Call) {
	t.Helper()
	type written struct {
		text []byte
		ends []int // of each call's bytes
		at   []int
	}
	connections := map[string]*written{}
	for _, c := range calls {
		if name, ok := toClient(c); ok {
			w := connections[name]
			if w == nil {
				w = &written{}
				connections[name] = w
			}
			w.text = append(w.text, c.Args[1].Str...)
			w.ends, w.at = append(w.ends, len(w.text)), append(w.at, c.Enter)
		}
	}
	found := map[uint64]bool{}
	for _, w := range connections {
		from := 0
		for i, raw := range tr.raw {
			at := bytes.Index(w.text[from:], raw)
			if at < 0 {
				continue
			}
			from += at + len(raw)
			call, _ := slices.BinarySearch(w.ends, from)
			tr.promise(w.at[call], tr.events[i], "a follower was sent")
			found[tr.events[i].Seq] = true
		}
	}
	if len(found) < len(tr.raw)*3/4 {
		t.Errorf("followers were sent %d of %d events: the trace is not understood", len(found), len(tr.raw))
	}
}

// answered finds the answers to invocations: all that the call did up to its
// end is known with them.
func (tr *truth) answered(t *testing.T, calls []*Call) {
	t.Helper()
	n := 0
	for _, c := range calls {
		if _, ok := toClient(c); !ok {
			continue
		}
		_, body, _ := bytes.Cut(c.Args[1].Str, []byte("\r\n\r\n"))
		var answer struct {
			CallID  string `json:"call_id"`
			Outcome string `json:"outcome"`
		}
		if json.Unmarshal(body, &answer) != nil || answer.Outcome == "" {
			continue
		}
		n++
		for _, e := range tr.events {
			if e.CallID == answer.CallID {
				tr.promise(c.Enter, e, "an invocation was answered")
			}
			if e.CallID == answer.CallID && e.Kind() == event.KindInvocationFinished {
				break
			}
		}
	}
	if n < 8 {
		t.Errorf("%d invocations were answered: the trace is not understood", n)
	}
}

var (
	socketPair = regexp.MustCompile(`UNIX:\[(\d+)->(\d+)\]`)
	processDir = regexp.MustCompile(`/processes/([0-9A-Z]{26})>`)
)

// acted finds the acts: "go" and signals that were sent to shims, and the
// removal of process directories. Each stands for the event that allowed it.
func (tr *truth) acted(t *testing.T, calls []*Call) {
	t.Helper()
	shims := map[string]ulid.ULID{} // by the number of the shim's end of its connection
	signals := map[ulid.ULID]int{}
	tr.goes = map[ulid.ULID]int{}
	for _, c := range calls {
		switch {
		case c.Name == "sendmsg" && strings.Contains(c.Args[1].Raw, "SCM_RIGHTS"):
			// A launch passes the directory and the shim's end.
			dir, pairs := processDir.FindStringSubmatch(c.Args[1].Raw), socketPair.FindStringSubmatch(c.Args[1].Raw)
			if dir != nil && pairs != nil {
				shims[pairs[1]] = ulid.MustParse(dir[1])
			}
		case c.Name == "sendmsg":
			pair := socketPair.FindStringSubmatch(c.Args[0].Path)
			m, err := shim.DecodeMessage(c.Args[1].Str)
			if pair == nil || err != nil || shims[pair[2]] == (ulid.ULID{}) {
				continue
			}
			handle := shims[pair[2]]
			switch m.Type {
			case shim.TypeGo:
				tr.goes[handle] = c.Enter
				tr.allowed(c, handle, event.KindSpawnDecided, 0, "go was sent")
			case shim.TypeSignal:
				tr.allowed(c, handle, event.KindSignalRequested, signals[handle], fmt.Sprintf("signal %d was sent", m.Signal))
				signals[handle]++
			}
		case strings.HasPrefix(c.Name, "renameat"):
			if dir, name := filepath.Split(c.path(0, true)); strings.HasSuffix(dir, "/processes/") {
				if id, err := ulid.ParseStrict(name); err == nil {
					tr.allowed(c, id, event.KindHandleReleased, 0, "its directory was removed")
				}
			}
		}
	}
	if len(tr.goes) < 10 {
		t.Errorf("go was sent %d times: the trace is not understood", len(tr.goes))
	}
}

// allowed promises the nth event of a kind of a handle.
func (tr *truth) allowed(c *Call, handle ulid.ULID, kind event.Kind, n int, why string) {
	for _, e := range tr.events {
		if e.Handle == handle && e.Kind() == kind {
			if n--; n < 0 {
				tr.promise(c.Enter, e, why)
				return
			}
		}
	}
}

// kept finds the exit records that shims know to be on the disk: the flush of
// processes/ behind that of its directory is the last step of that.
func (tr *truth) kept(t *testing.T, calls []*Call) {
	t.Helper()
	named, flushed := map[string]int{}, map[string]int{} // directories, and when
	for _, c := range calls {
		switch {
		case c.Ret < 0:
		case strings.HasPrefix(c.Name, "renameat"):
			if to := c.path(2, true); filepath.Base(to) == shim.FileExit {
				named[filepath.Dir(to)] = c.Exit
			}
		case c.Name == "fsync":
			if at, ok := named[c.Args[0].Path]; ok && at < c.Enter {
				flushed[c.Args[0].Path] = c.Exit
				continue
			}
			for dir, at := range flushed {
				if filepath.Dir(dir) == c.Args[0].Path && at < c.Enter {
					delete(named, dir)
					delete(flushed, dir)
					if id, err := ulid.ParseStrict(filepath.Base(dir)); err == nil {
						tr.records = append(tr.records, kept{c.Exit, id})
					}
				}
			}
		}
	}
	if len(tr.records) == 0 {
		t.Error("no shim made a record durable: the trace is not understood")
	}
}

// due returns the last event that has to be in the ledger after a power cut,
// and why.
func (tr *truth) due(cut int) promise {
	var last promise
	for _, p := range tr.promises {
		if p.at >= cut {
			break
		}
		if p.seq > last.seq {
			last = p
		}
	}
	return last
}
