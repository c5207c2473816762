package host

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// elsewhere is alice in another instance and call: who an id belongs to is the
// principal in its capsule.
var elsewhere = Caller{Principal: "alice", Capsule: "builder", Instance: "i-7", CallID: "call-7"}

// strangers are all that may not use alice's ids.
var strangers = map[string]Caller{
	"another principal": bob,
	"another capsule":   {Principal: "alice", Capsule: "other", Instance: "i-8"},
	"nobody":            {Capsule: "builder", Instance: "i-9"},
}

func TestPersistentLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, "trap 'echo caught; exit 4' TERM; echo hello; "+stays, func(r *Request) { r.Label = ptr("my\nserver") })
	w.began(r)
	i, err := w.host.ProcessStatus(t.Context(), elsewhere, id)
	if err != nil || i.ID != id || i.Label != "myserver" || i.Command != "sh" || i.Phase != Running || i.Exit != nil || i.StdinOpen {
		t.Errorf("status: %+v, %v", i, err)
	}
	if i.OSPid == nil || !strings.Contains(procFile(t, *i.OSPid, "cmdline"), r.Args[2]) {
		t.Errorf("os-pid %v", i.OSPid)
	}
	out := ""
	w.until("it writes", func() bool {
		logs, err := w.host.ReadProcessLogs(t.Context(), elsewhere, id)
		out += string(logs.Stdout)
		return err != nil || out == "hello\n"
	})
	if _, err := w.host.WaitProcess(t.Context(), alice, id, time.Millisecond); CodeOf(err) != WaitTimeout {
		t.Errorf("wait: %v", err)
	}
	if err := w.host.ReleaseProcess(t.Context(), alice, id); CodeOf(err) != InvalidInput {
		t.Errorf("release of what runs: %v", err)
	}
	if err := w.host.SignalProcess(t.Context(), elsewhere, id, SigTerm); err != nil {
		t.Errorf("signal: %v", err)
	}
	exit, err := w.host.WaitProcess(t.Context(), alice, id, time.Minute)
	if err != nil || exitText(&exit) != "code 4" {
		t.Errorf("wait: %s, %v", exitText(&exit), err)
	}
	i, err = w.host.ProcessStatus(t.Context(), alice, id)
	if err != nil || i.Phase != Exited || i.OSPid != nil || exitText(i.Exit) != "code 4" || i.CPU == nil || i.MemPeak == nil {
		t.Errorf("status after the exit: %+v, %v", i, err)
	}
	logs, err := w.host.ReadProcessLogs(t.Context(), alice, id)
	if err != nil || logs.Running || string(logs.Stdout) != "caught\n" {
		t.Errorf("logs after the exit: %+v, %v", logs, err)
	}
	if err := w.host.SignalProcess(t.Context(), alice, id, SigTerm); CodeOf(err) != Closed {
		t.Errorf("signal after the exit: %v", err)
	}
	for range 2 {
		if err := w.host.ReleaseProcess(t.Context(), alice, id); err != nil {
			t.Errorf("release: %v", err)
		}
	}
	if _, err := w.host.ProcessStatus(t.Context(), alice, id); CodeOf(err) != NoSuchProcess {
		t.Errorf("status after the release: %v", err)
	}
}

// TestIDsAreNoOracle: every call by an id that is not the caller's to use
// answers the same, word for word, whatever the id is. It also holds that
// neither ledger nor disk has the id.
func TestIDsAreNoOracle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, stays)
	w.began(r)
	gone, _ := w.keep(alice, "true")
	if _, err := w.host.StopProcess(t.Context(), alice, gone, nil); err != nil {
		t.Fatal(err)
	}
	type ask struct {
		c  Caller
		id string
	}
	asks := map[string]ask{
		"released": {alice, gone}, "malformed": {alice, "no id"}, "empty": {alice, ""},
		"unknown": {alice, w.host.ids.of(newID())}, "upper case": {alice, strings.ToUpper(id)},
	}
	for name, c := range strangers {
		asks[name] = ask{c, id}
	}
	for name, a := range asks {
		for call, err := range w.byID(a.c, a.id) {
			if call == "release" {
				if err != nil {
					t.Errorf("%s, release: %v, want ok", name, err)
				}
			} else if e := new(Error); !errors.As(err, &e) || *e != *noSuchProcess() {
				t.Errorf("%s, %s: %v", name, call, err)
			}
		}
		if list, _ := w.host.StatusMany(t.Context(), a.c, []string{a.id}); len(list) != 0 {
			t.Errorf("%s: status of %+v", name, list)
		}
		if list, _ := w.host.ListProcesses(t.Context(), a.c, nil); a.c != alice && len(list) != 0 {
			t.Errorf("%s lists %+v", name, list)
		}
	}
	if i, err := w.host.ProcessStatus(t.Context(), alice, id); err != nil || i.Phase != Running {
		t.Errorf("the process took harm: %+v, %v", i, err)
	}
	w.nowhere(id)
}

// byID calls everything that takes an id.
func (w *world) byID(c Caller, id string) map[string]error {
	ctx, h := w.t.Context(), w.host
	_, status := h.ProcessStatus(ctx, c, id)
	_, attach := h.Attach(ctx, c, id)
	_, logs := h.ReadProcessLogs(ctx, c, id)
	_, wait := h.WaitProcess(ctx, c, id, time.Second)
	_, stop := h.StopProcess(ctx, c, id, nil)
	return map[string]error{
		"status": status, "attach": attach, "read-logs": logs, "wait": wait, "stop": stop,
		"signal": h.SignalProcess(ctx, c, id, SigTerm), "release": h.ReleaseProcess(ctx, c, id),
	}
}

// nowhere fails the test if some file of the data directory holds the text.
func (w *world) nowhere(text string) {
	w.t.Helper()
	err := filepath.WalkDir(w.data, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			w.t.Errorf("%s holds the id", path)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}

// TestPersistentRefusals holds the order of the checks: each refusal stands
// in the ledger, with the request, and nothing was started.
func TestPersistentRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) {
		w.config.Principals = map[string]policy.Quotas{"poor": {Background: 0, MaxTimeout: time.Second}}
	})
	bad := func(r *Request) { r.IdleTimeoutMS, r.Args = ptr(uint64(0)), []string{"\x00"} }
	cases := map[string]struct {
		c      Caller
		change func(*Request)
		code   Code
		rule   string
	}{
		"policy":         {Caller{Principal: "no good", Capsule: "nobody"}, bad, CapabilityDenied, "principal: not 1 to 64 of [A-Za-z0-9_-]"},
		"gate":           {Caller{Principal: "", Capsule: "nobody"}, bad, CapabilityDenied, `no manifest: capsule "nobody"`},
		"gate, command":  {alice, func(r *Request) { bad(r); r.Cmd = "rm" }, CapabilityDenied, `manifest host_process: no entry for "rm"`},
		"not persistent": {Caller{Principal: "", Capsule: "third"}, bad, CapabilityDenied, "manifest allow_persistent: not set"},
		"nobody":         {Caller{Principal: "", Capsule: "builder"}, bad, PersistUnsupported, "principal: not authenticated"},
		"anonymous":      {Caller{Principal: "anonymous", Capsule: "builder"}, bad, PersistUnsupported, "principal: not authenticated"},
		"idle":           {Caller{Principal: "poor", Capsule: "builder"}, bad, InvalidInput, "validation"},
		"arguments":      {Caller{Principal: "poor", Capsule: "builder"}, func(r *Request) { r.Args = []string{"\x00"} }, InvalidInput, "validation"},
		"prelude":        {Caller{Principal: "poor", Capsule: "builder"}, func(r *Request) { r.Stdin = make([]byte, 4<<20+1) }, TooLarge, "validation"},
		"quota":          {Caller{Principal: "poor", Capsule: "builder"}, func(*Request) {}, Quota, "quota"},
	}
	for name, c := range cases {
		r := w.script("true")
		c.change(&r)
		seq := w.live.Snapshot().Seq()
		if _, err := w.host.SpawnPersistent(t.Context(), c.c, r); CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
		es := w.events(seq + 1)
		if len(es) != 2 || es[0].Body.(*event.SpawnRequested).Tier != event.TierPersistent {
			t.Errorf("%s: %d events", name, len(es))
			continue
		}
		d := es[1].Body.(*event.SpawnDecided)
		if d.Outcome != event.OutcomeRefused || d.Code != c.code.String() || d.Rule != c.rule || d.ProcessIDHash != nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if n := w.directories(); n != 0 {
		t.Errorf("%d process directories", n)
	}
}

// TestUnavailableIsPersistUnsupported has a machine that cannot contain a
// program.
func TestUnavailableIsPersistUnsupported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.host.unavailable = "no namespaces"
	if _, err := w.host.SpawnPersistent(t.Context(), alice, w.script("true")); CodeOf(err) != PersistUnsupported {
		t.Errorf("%v, want persist-unsupported", err)
	}
	if _, err := w.host.SpawnPersistent(t.Context(), alice, Request{Cmd: "rm"}); CodeOf(err) != CapabilityDenied {
		t.Errorf("%v, want capability-denied: the gate comes first", err)
	}
}

// fill grants persistent processes that end at once and are not released.
func (w *world) fill(c Caller, n int) {
	w.t.Helper()
	for range n {
		p := w.host.plan(c, &Request{Cmd: "sh"}, event.TierPersistent)
		_, err := w.live.Decide(w.t.Context(), func(tip *projector.State, next ledger.Header) ([]*event.Event, error) {
			es, err := p.decide(tip, next)
			return append(es, &event.Event{Scope: p.decidedScope(), Body: &event.ProcessLost{Reason: "may-have-run"}}), err
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// empty releases what fill made.
func (w *world) empty() {
	w.t.Helper()
	for _, h := range w.live.Snapshot().Handles() {
		w.append(&event.Event{Scope: h.Scope(), Body: &event.HandleReleased{Reason: "released"}})
	}
}

// TestRegistryCaps: the registry's bounds are decided on before anything runs,
// and count what has ended and is not released.
func TestRegistryCaps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refuse := func(c Caller, scope string, limit uint32) {
		t.Helper()
		seq := w.live.Snapshot().Seq()
		if _, err := w.host.SpawnPersistent(t.Context(), c, w.script("true")); CodeOf(err) != RegistryFull {
			t.Fatalf("%v, want registry-full", err)
		}
		d := w.events(seq + 1)[1].Body.(*event.SpawnDecided)
		seen := event.QuotaSeen{Scope: scope, Used: limit, Cap: limit}
		if d.Rule != "registry" || !strings.Contains(d.Detail, scope) {
			t.Errorf("%+v", d)
		}
		for _, q := range d.Quotas {
			if q.Scope == scope && (q.Used != seen.Used || q.Cap != seen.Cap) {
				t.Errorf("seen %+v, want %+v", q, seen)
			}
		}
	}
	w.fill(alice, 32)
	refuse(alice, "registry:alice/builder", 32)
	other := alice
	other.Capsule = "other"
	w.fill(other, 1)
	for i := range 7 {
		w.fill(Caller{Principal: "user" + strconv.Itoa(i), Capsule: "builder"}, 32)
	}
	refuse(Caller{Principal: "late", Capsule: "builder"}, "registry-capsule:builder", 256)
	w.empty()
	id, _ := w.keep(alice, "true")
	if _, err := w.host.StopProcess(t.Context(), alice, id, nil); err != nil {
		t.Error(err)
	}
}

// TestRegistryAndQuotaCountTogether: a quota that is used up is named before a
// full registry, and background and persistent processes share it.
func TestRegistryAndQuotaCountTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.config.Default.Background = 2 })
	id, _ := w.keep(alice, stays)
	w.start(alice, stays)
	if _, err := w.host.SpawnPersistent(t.Context(), alice, w.script("true")); CodeOf(err) != Quota {
		t.Errorf("%v, want quota", err)
	}
	if _, err := w.host.SpawnBackground(t.Context(), alice, w.script("true")); CodeOf(err) != Quota {
		t.Errorf("%v, want quota", err)
	}
	if _, err := w.host.StopProcess(t.Context(), alice, id, nil); err != nil {
		t.Fatal(err)
	}
	again, _ := w.keep(alice, "true")
	if _, err := w.host.WaitProcess(t.Context(), alice, again, time.Minute); err != nil {
		t.Error(err)
	}
	// Ended and not released: it counts for the registry, and no longer here.
	w.keep(alice, "true")
}

// TestDecisionCarriesTheTerms holds what the ledger says of a granted one.
func TestDecisionCarriesTheTerms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, _ := w.keep(alice, "true", func(r *Request) {
		r.Label, r.MaxLifetimeMS, r.IdleTimeoutMS = ptr("a\tb"), ptr(uint64(1e12)), ptr(uint64(60_000))
	})
	var asked *event.SpawnRequested
	var d *event.SpawnDecided
	for _, e := range w.events(1) {
		switch b := e.Body.(type) {
		case *event.SpawnRequested:
			asked = b
		case *event.SpawnDecided:
			d = b
		}
	}
	if asked.Label != "a\tb" || *asked.LifetimeMS != 1e12 || *asked.IdleMS != 60_000 || asked.RetentionMS != nil || asked.KeepStdinOpen != nil {
		t.Errorf("requested: %+v", asked)
	}
	if d.Label != "ab" || d.Orders.LifetimeNano != 6*3600e9 || d.Orders.GraceNano != 5e9 || d.Orders.OrphanNano != 0 ||
		d.IdleNano != 60e9 || d.RetentionNano != 300e9 || d.RingBytes != 1<<20 || !bytes.Equal(d.ProcessIDHash, w.host.ids.hash(id)) ||
		d.Rule != "manifest host_process: sh; manifest allow_persistent" {
		t.Errorf("decided: %+v %+v", d, d.Orders)
	}
}

func TestListProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	labelled := func(l string) func(*Request) { return func(r *Request) { r.Label = &l } }
	one, _ := w.keep(alice, stays, labelled("web one"))
	two, _ := w.keep(elsewhere, "true", labelled("web two"))
	db, _ := w.keep(alice, stays, labelled("db"))
	w.keep(bob, stays, labelled("web of bob"))
	other := alice
	other.Capsule = "other"
	w.keep(other, stays, labelled("web elsewhere"))
	if _, err := w.host.WaitProcess(t.Context(), alice, two, time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		label *string
		want  []string
	}{{nil, []string{one, two, db}}, {ptr("web"), []string{one, two}}, {ptr(""), []string{one, two, db}}, {ptr("WEB"), nil}} {
		list, err := w.host.ListProcesses(t.Context(), alice, c.label)
		if err != nil || strings.Join(idsOf(list), " ") != strings.Join(c.want, " ") {
			t.Errorf("%v, %v, want %v", idsOf(list), err, c.want)
		}
	}
	many, err := w.host.StatusMany(t.Context(), alice, []string{db, "unknown", two, db})
	if err != nil || strings.Join(idsOf(many), " ") != strings.Join([]string{db, two, db}, " ") {
		t.Errorf("status-many %v, %v", idsOf(many), err)
	}
	if many[1].Phase != Exited || many[0].Phase != Running {
		t.Errorf("phases %v, %v", many[0].Phase, many[1].Phase)
	}
}

func idsOf(list []Info) (ids []string) {
	for _, i := range list {
		ids = append(ids, i.ID)
	}
	return ids
}

func TestAttach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, "echo hello; "+stays)
	w.began(r)
	p, err := w.host.Attach(t.Context(), elsewhere, id)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.host.Attach(t.Context(), alice, id)
	if err != nil {
		t.Fatal(err)
	}
	if h, _ := w.live.Snapshot().Handle(p.ID()); h.Attached != 2 {
		t.Errorf("attached %d times", h.Attached)
	}
	es := w.events(1)
	if e := es[len(es)-1]; e.Kind() != event.KindHandleAttached || e.Instance != "i-1" || es[len(es)-2].Instance != "i-7" || e.Handle != p.ID() {
		t.Errorf("%v by %s", e.Kind(), e.Instance)
	}
	if _, err := p.Wait(t.Context(), alice, nil); CodeOf(err) != InvalidInput {
		t.Errorf("a wait for ever: %v", err)
	}
	if _, err := p.Wait(t.Context(), alice, ptr(time.Millisecond)); CodeOf(err) != WaitTimeout {
		t.Errorf("a bounded wait: %v", err)
	}
	if _, err := p.ReadLogs(t.Context(), bob); CodeOf(err) != CapabilityDenied {
		t.Errorf("another principal: %v", err)
	}
	if err := p.Drop(t.Context(), bob); CodeOf(err) != CapabilityDenied {
		t.Errorf("a drop by another principal: %v", err)
	}
	if err := p.Drop(t.Context(), alice); err != nil {
		t.Error(err)
	}
	if _, err := p.ReadLogs(t.Context(), alice); CodeOf(err) != Closed {
		t.Errorf("logs after the drop: %v", err)
	}
	if pid, err := second.OSPid(alice); err != nil || pid == 0 {
		t.Errorf("the other handle: %d, %v", pid, err)
	}
	if i, err := w.host.ProcessStatus(t.Context(), alice, id); err != nil || i.Phase != Running {
		t.Errorf("a dropped handle ended the process: %+v, %v", i, err)
	}
	k, err := second.Kill(t.Context(), alice)
	if err != nil || !k.Killed || exitText(k.Exit) != "signal 9" || string(k.Stdout) != "hello\n" {
		t.Errorf("kill: %+v, %v", k, err)
	}
	if err := w.host.ReleaseProcess(t.Context(), alice, id); err != nil {
		t.Error(err)
	}
	if _, err := second.ReadLogs(t.Context(), alice); CodeOf(err) != Closed {
		t.Errorf("a handle of what was released: %v", err)
	}
	if err := second.Drop(t.Context(), alice); err != nil {
		t.Error(err)
	}
}
