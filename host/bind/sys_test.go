package bind

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host"
)

func sysWorld(t *testing.T, f *fake) *world {
	t.Helper()
	return newWorldOn(t, f, nil, newRuntime(t), sysHost)
}

func TestConfig(t *testing.T) {
	w := sysWorld(t, &fake{config: map[string]string{"key": "value\xff"}})
	p, n := w.put(1<<17, "keyless")
	w.call("get-config", p, 3, retAt)
	if w.fine("get-config"); w.byte(retAt+4) != 1 || w.text(retAt+8) != "value\uFFFD" {
		t.Error("the value is another one")
	}
	w.call("get-config", p, n, retAt)
	if w.fine("get-config"); w.byte(retAt+4) != 0 {
		t.Error("an unknown key has a value")
	}
	for code := SysCapabilityDenied; code <= SysUnknown; code++ {
		w.f.sysErr = &SysError{Code: code, Detail: "why"}
		w.call("get-config", p, 3, retAt)
		w.failed(w.f.sysErr.Error(), 4, int(code))
	}
	if w.text(retAt+8) != "why" {
		t.Error("unknown without its text")
	}
	w.f.sysErr = &host.Error{Code: host.Quota}
	w.call("get-config", p, 3, retAt)
	if w.failed("a fault", 4, int(SysUnknown)); !strings.Contains(w.text(retAt+8), "its log says why") || !strings.Contains(w.log.String(), "quota") {
		t.Errorf("a fault: %q; log %s", w.text(retAt+8), w.log)
	}
}

func TestCaller(t *testing.T) {
	w := sysWorld(t, &fake{})
	w.call("get-caller", retAt)
	at, err := time.Parse(time.RFC3339, w.text(retAt+24))
	if w.fine("get-caller"); w.byte(retAt+4) != 1 || w.text(retAt+8) != "alice" || w.text(retAt+16) != "source-1" || err != nil || time.Since(at) > soon {
		t.Errorf("%q, %q, %q", w.text(retAt+8), w.text(retAt+16), w.text(retAt+24))
	}
	w.in.Begin(w.soft, host.Caller{Capsule: "builder", Principal: "system"})
	w.in.Unasked()
	w.call("get-caller", retAt)
	if w.fine("get-caller"); w.byte(retAt+4) != 0 || w.text(retAt+16) != "" || w.text(retAt+24) != "" {
		t.Error("the daemon's own call has a caller")
	}
	w.in.Begin(w.soft, host.Caller{Capsule: "builder"})
	w.call("get-caller", retAt)
	if w.fine("get-caller"); w.byte(retAt+4) != 0 || w.text(retAt+16) != "" || w.text(retAt+24) != "" {
		t.Error("nobody is somebody")
	}
}

func TestLogMessages(t *testing.T) {
	w := sysWorld(t, &fake{})
	p, n := w.put(1<<17, "hello")
	for level := range uint64(5) {
		w.call("log", level, p, n)
	}
	for _, want := range []string{"level=DEBUG-4", "level=DEBUG ", "level=INFO", "level=WARN", "level=ERROR"} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("no %s in\n%s", want, w.log)
		}
	}
	if !strings.Contains(w.log.String(), "capsule=builder principal=alice message=hello") {
		t.Errorf("log %s", w.log)
	}
	if err := w.try("log", 5, p, n); err == nil {
		t.Error("a level of 5 did not trap")
	}
	w.log.Reset()
	p, n = w.put(1<<17, strings.Repeat("x", 1<<20))
	if w.call("log", 2, p, n); w.log.Len() > maxMessage+1000 || !strings.Contains(w.log.String(), "message_bytes=1048576") {
		t.Errorf("a long message made %d bytes of log", w.log.Len())
	}
}

func TestClocks(t *testing.T) {
	w := sysWorld(t, &fake{})
	before := time.Now().UnixMilli()
	if ms := int64(w.one("clock-ms")); ms < before || ms > time.Now().UnixMilli() {
		t.Errorf("clock-ms %d", ms)
	}
	a := w.one("clock-monotonic-ns")
	w.call("sleep-ns", uint64(time.Millisecond), retAt)
	w.fine("sleep-ns")
	if d := time.Duration(w.one("clock-monotonic-ns") - a); d < time.Millisecond || d > soon {
		t.Errorf("a sleep of a millisecond took %v", d)
	}
}

func TestSleepIsBoundedAndCancelled(t *testing.T) {
	w := sysWorld(t, &fake{})
	for _, ns := range []uint64{60_000_000_001, math.MaxUint64} {
		w.call("sleep-ns", ns, retAt)
		w.failed("a long sleep", 4, int(SysTooLarge))
	}
	time.AfterFunc(20*time.Millisecond, w.stop)
	began := time.Now()
	w.call("sleep-ns", uint64(time.Minute), retAt)
	if w.failed("sleep-ns", 4, int(SysCancelled)); time.Since(began) > soon {
		t.Error("a cancel did not wake it")
	}
}

func TestRandomBytes(t *testing.T) {
	w := sysWorld(t, &fake{})
	w.call("random-bytes", 4096, retAt)
	w.fine("random-bytes")
	one := w.text(retAt + 4)
	w.call("random-bytes", 4096, retAt)
	if two := w.text(retAt + 4); len(one) != 4096 || one == two {
		t.Errorf("%d bytes, the same ones: %v", len(one), one == two)
	}
	w.call("random-bytes", 0, retAt)
	w.fine("no random bytes")
	for _, n := range []uint64{4097, math.MaxUint64} {
		w.call("random-bytes", n, retAt)
		w.failed("too many", 4, int(SysTooLarge))
	}
}

func TestCapabilities(t *testing.T) {
	w := sysWorld(t, &fake{})
	p, _ := w.put(1<<17, "sc")
	for _, c := range []struct {
		source, capability uint64
		want               byte
	}{{0, 1, 1}, {1, 1, 0}, {0, 0, 0}} {
		w.call("check-capsule-capability", p+c.source, 1, p+c.capability, 1, retAt)
		if w.fine("check"); w.byte(retAt+4) != c.want {
			t.Errorf("%+v: %d", c, w.byte(retAt+4))
		}
	}
	w.call("enumerate-capabilities", retAt)
	if list := w.word(retAt); w.word(retAt+4) != 2 || w.text(list) != "host_process" || w.text(list+8) != "uplink" {
		t.Error("the capabilities are others")
	}
	if w.call("signal-ready"); len(w.f.called) != 1 || w.f.called[0] != "signal-ready of builder" {
		t.Errorf("called %q", w.f.called)
	}
}

// TestLogFlood: a guest that logs in a loop does not fill the disk, and is heard
// again in its next invocation; empty messages are none the less messages.
func TestLogFlood(t *testing.T) {
	w := sysWorld(t, &fake{})
	p, _ := w.put(1<<17, strings.Repeat("x", 1<<16))
	for _, n := range []uint64{0, 1 << 16} {
		w.in.Begin(w.soft, host.Caller{Capsule: "builder"})
		w.log.Reset()
		for range 5000 {
			w.call("log", 2, p, n)
		}
		if size, told := w.log.Len(), strings.Count(w.log.String(), "logs too much"); size > 2*maxLogged || told != 1 {
			t.Errorf("%d bytes of log, told %d times", size, told)
		}
		w.in.Begin(w.soft, host.Caller{Capsule: "builder"})
		w.log.Reset()
		if w.call("log", 2, p, 5); !strings.Contains(w.log.String(), "xxxxx") {
			t.Error("the next invocation is not heard")
		}
	}
	for range 10 {
		w.call("signal-ready")
	}
	if len(w.f.called) != 1 {
		t.Errorf("called %q", w.f.called)
	}
}

// TestWithoutASystem: an embedder need not have one.
func TestWithoutASystem(t *testing.T) {
	w := sysWorld(t, &fake{})
	w.in.sys = NewInstance(Services{}).sys
	p, n := w.put(1<<17, "key")
	w.call("get-config", p, n, retAt)
	if w.fine("get-config"); w.byte(retAt+4) != 0 {
		t.Error("there is a value")
	}
	w.call("check-capsule-capability", p, n, p, n, retAt)
	if w.fine("check"); w.byte(retAt+4) != 0 {
		t.Error("there is a capability")
	}
	w.call("enumerate-capabilities", retAt)
	w.call("signal-ready")
}
