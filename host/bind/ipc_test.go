package bind

import (
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/ipc"
)

const ipcHost = "astrid:ipc/host@1.0.0"

func ipcWorld(t *testing.T) *world {
	t.Helper()
	w := newWorldOn(t, &fake{}, nil, newRuntime(t), ipcHost)
	w.in.bus = ipc.New(ipc.Options{})
	return w
}

// strings writes strings into the memory and returns them as parameters.
func (w *world) strings(all ...string) (args []uint64) {
	at := uint32(1 << 17)
	for _, s := range all {
		p, n := w.put(at, s)
		args, at = append(args, p, n), at+uint32(n)
	}
	return args
}

func (w *world) subscribe(pattern string) uint64 {
	w.t.Helper()
	w.call("subscribe", append(w.strings(pattern), retAt)...)
	w.fine("subscribe")
	return uint64(w.word(retAt + 4))
}

// envelope reads the envelope of a poll or a recv.
func (w *world) envelope() (e ipc.Envelope) {
	const at = retAt + 8
	e.Dropped, e.Lagged = w.long(at+8), w.long(at+16)
	for i := range w.word(at + 4) {
		m := w.word(at) + 36*i
		e.Messages = append(e.Messages, ipc.Message{
			Topic: w.text(m), Payload: []byte(w.text(m + 8)), SourceID: w.text(m + 16),
			Principal: ipc.Principal{Kind: ipc.PrincipalKind(w.byte(m + 24)), Name: w.text(m + 28)},
		})
	}
	return e
}

func TestMessagesArrive(t *testing.T) {
	w := ipcWorld(t)
	s := w.subscribe("a.*")
	w.call(".recv", s, 0, retAt)
	if w.fine("recv"); len(w.envelope().Messages) != 0 {
		t.Error("a message before any was published")
	}
	w.call("publish", append(w.strings("a.b", `{"x":"é"}`), retAt)...)
	w.fine("publish")
	if err := w.in.bus.Announce(ipc.Message{Topic: "a.c", Payload: []byte("1"), Principal: ipc.Principal{Kind: ipc.System}}); err != nil {
		t.Fatal(err)
	}
	w.call(".poll", s, retAt)
	w.fine("poll")
	got := w.envelope().Messages
	if len(got) != 2 || got[0].Topic != "a.b" || string(got[0].Payload) != `{"x":"é"}` || got[0].SourceID != "id of builder" ||
		got[0].Principal != (ipc.Principal{Name: "alice"}) || got[1].Principal.Kind != ipc.System {
		t.Errorf("%+v", got)
	}
	w.call(".poll", s, retAt)
	if w.fine("poll"); len(w.envelope().Messages) != 0 {
		t.Error("messages come twice")
	}
}

func TestReadinessOfASubscription(t *testing.T) {
	r := newRuntime(t)
	w := newWorldOn(t, &fake{}, nil, r, ipcHost)
	w.in.bus = ipc.New(ipc.Options{})
	s := w.subscribe("a.b")
	p := w.one(".subscribe-readiness", s)
	polls := newWorldOn(t, &fake{}, nil, r, ioPoll)
	polls.in.table = w.in.table // the pollables of one guest, by the imports of another
	if polls.one(".ready", p) != 0 {
		t.Error("ready without a message")
	}
	time.AfterFunc(20*time.Millisecond, func() {
		if err := w.in.bus.Announce(ipc.Message{Topic: "a.b", Payload: []byte("1")}); err != nil {
			t.Error(err)
		}
	})
	polls.call(".block", p, retAt)
	polls.fine("block")
	w.call("~subscription", s)
	polls.call(".block", p, retAt)
	polls.failed("block", 4, pollClosed)
}

func TestIPCRefuses(t *testing.T) {
	w := ipcWorld(t)
	long := strings.Repeat("x", 1<<20+1)
	for _, c := range []struct {
		name string
		args []string
		want ipc.Code
	}{
		{"publish", []string{"A", "1"}, ipc.InvalidInput},
		{"publish", []string{strings.Repeat("a", 257), "1"}, ipc.InvalidInput},
		{"publish", []string{"a", "{"}, ipc.InvalidInput},
		{"publish", []string{"a", long}, ipc.InvalidInput},
		{"publish", []string{"astrid.process.v1.exited.x", "1"}, ipc.CapabilityDenied},
		{"publish-as", []string{"a", "1", "bob"}, ipc.CapabilityDenied},
		{"subscribe", []string{"*.a"}, ipc.InvalidInput},
	} {
		w.call(c.name, append(w.strings(c.args...), retAt)...)
		w.failed(c.name, 4, int(c.want))
	}
	for range ipc.MaxSubscriptions {
		w.subscribe("a")
	}
	w.call("subscribe", append(w.strings("a"), retAt)...)
	w.failed("one subscription too many", 4, int(ipc.Quota))
	w.in.Close()
	if s, err := w.in.bus.Subscribe("", "a"); err != nil {
		t.Errorf("after the guest is gone: %v", err)
	} else {
		s.Close()
	}
	w.in.bus = nil
	w.call("publish", append(w.strings("a", "1"), retAt)...)
	w.failed("publish without a bus", 4, int(ipc.Unknown))
	w.call("subscribe", append(w.strings("a"), retAt)...)
	w.failed("subscribe without a bus", 4, int(ipc.Unknown))
}

// uplinked is a system that lets every capsule speak for others.
type uplinked struct{ fake }

func (*uplinked) Allowed(source, capability string) bool {
	return source == "id of builder" && capability == "uplink"
}

func TestPublishAs(t *testing.T) {
	w := ipcWorld(t)
	w.in.sys = &uplinked{}
	s := w.subscribe("a")
	w.call("publish-as", append(w.strings("a", "1", "bob"), retAt)...)
	w.fine("publish-as")
	w.call("publish-as", append(w.strings("a", "1", "b b"), retAt)...)
	w.failed("publish-as of no principal", 4, int(ipc.InvalidInput))
	w.call(".poll", s, retAt)
	if got := w.envelope().Messages; len(got) != 1 || got[0].Principal != (ipc.Principal{Kind: ipc.Claimed, Name: "bob"}) {
		t.Errorf("%+v", got)
	}
}

func TestRecvEndsWithTheCancel(t *testing.T) {
	w := ipcWorld(t)
	s := w.subscribe("a")
	time.AfterFunc(20*time.Millisecond, w.stop)
	w.call(".recv", s, 60_000, retAt)
	if w.failed("recv", 8, int(ipc.Unknown)); w.text(retAt+12) != "cancelled" {
		t.Errorf("text %q", w.text(retAt+12))
	}
}

func TestBindings(t *testing.T) {
	w := ipcWorld(t)
	w.call("get-interceptor-bindings", retAt)
	list := w.word(retAt + 4)
	if w.fine("bindings"); w.word(retAt+8) != 1 || w.long(list) != 7 || w.text(list+8) != "act" || w.text(list+16) != "a.b" {
		t.Error("the bindings are others")
	}
}

var _ System = (*fake)(nil)
