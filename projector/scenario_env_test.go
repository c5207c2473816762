package projector

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// scenario is what the commands of one file work on.
type scenario struct {
	t     *testing.T
	dir   string
	opts  ledger.Options
	clock *stillClock
	live  *Live

	// caps are what "spawn" decides by; "quota" sets them.
	caps struct{ principal, sync, capsule uint32 }

	ids    map[string]ulid.ULID // by the name that the scenario uses
	names  map[ulid.ULID]string
	scopes map[string]event.Scope
}

// stillClock is a clock that moves when it is told to. A boot is a number.
type stillClock struct {
	mu         sync.Mutex // held for a few instructions
	wall, boot int64
	bootID     byte
}

// scenarioEpoch is when every scenario begins.
var scenarioEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()

func (c *stillClock) Now() (wall, boottime int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall, c.boot
}

func (c *stillClock) BootID() [16]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return [16]byte{c.bootID}
}

func newScenario(t *testing.T) *scenario {
	e := &scenario{
		t: t, dir: filepath.Join(t.TempDir(), "ledger"),
		clock: &stillClock{wall: scenarioEpoch, bootID: 1},
		ids:   map[string]ulid.ULID{}, names: map[ulid.ULID]string{}, scopes: map[string]event.Scope{},
	}
	e.opts = ledger.Options{Clock: e.clock, Reserve: -1}
	e.caps.principal, e.caps.sync, e.caps.capsule = 8, 4, 8
	t.Cleanup(func() {
		if e.live != nil {
			checkLive(t, e.live)
			if err := e.live.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return e
}

// run runs one command line and returns what it prints.
func (e *scenario) run(line string) string {
	words := strings.Fields(line)
	fn, ok := scenarioCommands[words[0]]
	if !ok {
		return fmt.Sprintf("unknown command %s\n", words[0])
	}
	if e.live == nil && words[0] != "open" {
		e.open()
	}
	return fn(e, parseArguments(words[1:]))
}

func (e *scenario) open() {
	l, err := Open(e.dir, e.opts)
	if err != nil {
		e.t.Fatal(err)
	}
	e.live = l
}

// id returns the id that goes by a name, a new one for a new name. Ids sort in
// the order in which their names first came up.
func (e *scenario) id(name string) ulid.ULID {
	id, ok := e.ids[name]
	if !ok {
		id = testID(uint64(len(e.ids)+1), byte(len(e.ids)+1))
		e.ids[name], e.names[id] = id, name
	}
	return id
}

func (e *scenario) name(id ulid.ULID) string {
	if id == (ulid.ULID{}) {
		return "-"
	}
	if n, ok := e.names[id]; ok {
		return n
	}
	return id.String()
}

// scope is the scope of a named handle: as it was asked for, or as the
// arguments say.
func (e *scenario) scope(name string, a arguments) event.Scope {
	if sc, ok := e.scopes[name]; ok {
		return sc
	}
	sc := event.Scope{
		Principal: a.get("principal", "alice"), Capsule: a.get("capsule", "builder"),
		CallID: a.get("call", ""), Actor: event.Actor{Kind: event.ActorGuest},
	}
	sc.Instance = a.get("instance", sc.Principal+"/"+sc.Capsule)
	if name != "" {
		sc.Handle = e.id(name)
		e.scopes[name] = sc
	}
	return sc
}

// commit decides the bodies for one scope and prints what came of it.
func (e *scenario) commit(sc event.Scope, bodies ...event.Body) string {
	return e.decide(func(*State, ledger.Header) ([]*event.Event, error) { return eventsOf(sc, bodies...), nil })
}

func (e *scenario) decide(fn func(*State, ledger.Header) ([]*event.Event, error)) string {
	before := e.live.Snapshot()
	c, err := e.live.Decide(context.Background(), fn)
	var out strings.Builder
	if err != nil {
		fmt.Fprintf(&out, "error: %s\n", e.withNames(err.Error()))
		return out.String()
	}
	after := e.live.Snapshot()
	e.printEvents(&out, before.Seq()+1, after.Seq())
	if len(c.Events) == 0 {
		fmt.Fprintln(&out, "nothing")
	}
	return out.String()
}

// withNames puts names in place of ids.
func (e *scenario) withNames(s string) string {
	for id, name := range e.names {
		s = strings.ReplaceAll(s, id.String(), name)
	}
	return s
}

// copyLedger copies the ledger's files under its writer: with nothing in
// flight that is what a SIGKILL leaves.
func (e *scenario) copyLedger(to string) {
	if err := os.CopyFS(to, os.DirFS(e.dir)); err != nil {
		e.t.Fatal(err)
	}
}

// sortedNames lists names of ids in the order of the ids.
func (e *scenario) sortedNames(ids []ulid.ULID) string {
	if len(ids) == 0 {
		return "none"
	}
	ids = slices.Clone(ids)
	slices.SortFunc(ids, ulid.ULID.Compare)
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = e.name(id)
	}
	return strings.Join(names, " ")
}
