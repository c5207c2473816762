package bind

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/host/ipc"
)

// System is what guests may know of the system that they run in.
type System interface {
	// Config returns a value of the capsule's configuration: a string as it
	// is, anything else as its JSON text. The error is a *SysError.
	Config(c host.Caller, key string) (value string, found bool, err error)

	// SourceID returns the id under which a capsule's messages go.
	SourceID(capsule string) string

	// Allowed tells whether the capsule with that id has a capability; of an
	// unknown id or capability it is false.
	Allowed(sourceID, capability string) bool

	// Capabilities returns the names of what the capsule may do.
	Capabilities(capsule string) []string

	// SignalReady is told that a guest has finished its start.
	SignalReady(c host.Caller)

	// Bindings returns which actions of the capsule are bound to which topics.
	Bindings(capsule string) []Binding
}

// Binding is an action of a capsule that messages on a topic lead to.
type Binding struct {
	HandleID      uint64
	Action, Topic string
}

// SysCode is the error-code of astrid:sys; the numbers are its discriminants.
type SysCode uint8

// The error codes of astrid:sys, in the contract's order.
const (
	SysCapabilityDenied    SysCode = 0
	SysConfigKeyReserved   SysCode = 1
	SysTooLarge            SysCode = 2
	SysRegistryUnavailable SysCode = 3
	SysCancelled           SysCode = 4
	SysUnknown             SysCode = 5
)

// SysError is an answer of the System that is not a success.
type SysError struct {
	Code   SysCode
	Detail string // one sentence for people; guests see that of SysUnknown
}

// Error reads like "config-key-reserved: …".
func (e *SysError) Error() string {
	return casesOf(sysErrorCode)[min(e.Code, SysUnknown)].Name + ": " + e.Detail
}

// noSystem is a system without anything.
type noSystem struct{}

func (noSystem) Config(host.Caller, string) (string, bool, error) { return "", false, nil }
func (noSystem) SourceID(capsule string) string                   { return ipc.SourceID(capsule) }
func (noSystem) Allowed(string, string) bool                      { return false }
func (noSystem) Capabilities(string) []string                     { return nil }
func (noSystem) SignalReady(host.Caller)                          {}
func (noSystem) Bindings(string) []Binding                        { return nil }

// The types of astrid:sys/host.
var (
	sysErrorCode = abi.Variant("error-code",
		abi.Case{Name: "capability-denied"}, abi.Case{Name: "config-key-reserved"}, abi.Case{Name: "too-large"},
		abi.Case{Name: "registry-unavailable"}, abi.Case{Name: "cancelled"}, abi.Case{Name: "unknown", Type: abi.String})

	callerContext = abi.Record("caller-context", field("principal", abi.Option(abi.String)),
		field("source-id", abi.String), field("timestamp", abi.String))

	logLevel = abi.Enum("log-level", "trace", "debug", "info", "warn", "error")

	capabilityCheck  = abi.Record("capability-check", field("source-uuid", abi.String), field("capability", abi.String))
	capabilityAnswer = abi.Record("capability-answer", field("allowed", abi.Bool))
)

var sysErrors = &errorSet{of: sysErrorCode, caseOf: func(err error) (int, string, bool) {
	var e *SysError
	switch {
	case errors.As(err, &e):
		return int(min(e.Code, SysUnknown)), e.Detail, true
	case isCancel(err):
		return int(SysCancelled), "", true
	}
	return 0, "", false
}}

// Bounds of astrid:sys. Those marked as ours are bounds that the contract
// leaves to the host.
const (
	maxSleep   = 60 * time.Second
	maxRandom  = 4096      // bytes of one call
	maxMessage = 64 << 10  // ours: bytes of one log message; the rest is left out
	maxLogged  = 512 << 10 // ours: bytes of log in one invocation, or a minute of it; then one line tells of it
	logRecord  = 256       // bytes that a message takes beside its text, about
	maxName    = 1 << 10   // ours: bytes of a key, an id or a capability; longer ones do not exist
)

// sysFuncs are those of astrid:sys/host@1.0.0.
func sysFuncs() []function {
	answers := func(name string, ok *abi.Type, do body, params ...abi.Field) function {
		return function{Func: abi.NewFunc(name, abi.Result(ok, sysErrors.of), params...), do: do, errors: sysErrors}
	}
	return []function{
		answers("get-config", abi.Option(abi.String), getConfig, field("key", abi.String)),
		answers("get-caller", callerContext, getCaller),
		bare("log", nil, logMessage, field("level", logLevel), field("message", abi.String)),
		bare("signal-ready", nil, signalReady),
		bare("clock-ms", abi.U64, clockMS),
		bare("clock-monotonic-ns", abi.U64, clockMonotonic),
		answers("sleep-ns", nil, sleep, field("duration-ns", abi.U64)),
		answers("random-bytes", abi.List(abi.U8), randomBytes, field("length", abi.U64)),
		answers("check-capsule-capability", capabilityAnswer, checkCapability, field("request", capabilityCheck)),
		bare("enumerate-capabilities", abi.List(abi.String), enumerateCapabilities),
	}
}

func getConfig(c *call) (func(abi.Slot), error) {
	value, found, err := c.in.sys.Config(c.caller(), c.arg("key").Clip(maxName))
	return func(s abi.Slot) {
		if found {
			s.Some().Text(lossyString(value))
		}
	}, err
}

// getCaller tells on whose behalf the guest runs, and since when. Where that is
// nobody's, none and empty strings.
func getCaller(c *call) (func(abi.Slot), error) {
	who, began := c.caller(), c.in.began
	return func(s abi.Slot) {
		if who.Principal == "" || began.IsZero() {
			return
		}
		s.Field("principal").Some().Text(lossyString(who.Principal))
		s.Field("source-id").Text(lossyString(who.Source))
		s.Field("timestamp").Text(began.UTC().Format(time.RFC3339Nano))
	}, nil
}

// logLevels are slog's for the contract's.
var logLevels = [...]slog.Level{slog.LevelDebug - 4, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}

func logMessage(c *call) (func(abi.Slot), error) {
	level, _ := c.arg("level").Case()
	text, whole := c.arg("message").Clip(maxMessage), c.arg("message").Size()
	attrs := []any{"capsule", c.caller().Capsule, "principal", c.caller().Principal, "message", text}
	if int(whole) > len(text) {
		attrs = append(attrs, "message_bytes", whole)
	}
	switch ok, last := c.in.mayLog(len(text)); {
	case ok:
		c.in.log.Log(c.ctx, logLevels[level], "guest", attrs...)
	case last:
		c.in.log.Warn("a guest logs too much; the rest of this invocation, or of the minute, is not logged",
			"capsule", c.caller().Capsule, "principal", c.caller().Principal, "bytes", maxLogged)
	}
	return nil, nil
}

// mayLog takes a message from what the guest may log: it could fill the disk
// otherwise. last is true of the first that is refused.
func (in *Instance) mayLog(size int) (ok, last bool) {
	if now := time.Now(); now.Sub(in.logFrom) >= time.Minute {
		in.logged, in.logFrom = 0, now
	}
	before := in.logged
	in.logged += size + logRecord
	return in.logged <= maxLogged, before <= maxLogged
}

// signalReady tells the system once: a guest that says it again is no readier.
func signalReady(c *call) (func(abi.Slot), error) {
	if !c.in.ready {
		c.in.ready = true
		c.in.sys.SignalReady(c.caller())
	}
	return nil, nil
}

func clockMS(*call) (func(abi.Slot), error) {
	now := uint64(max(0, time.Now().UnixMilli()))
	return func(s abi.Slot) { s.U64(now) }, nil
}

// clockStart is where the monotonic clock begins.
var clockStart = time.Now()

func clockMonotonic(*call) (func(abi.Slot), error) {
	ns := uint64(time.Since(clockStart))
	return func(s abi.Slot) { s.U64(ns) }, nil
}

func sleep(c *call) (func(abi.Slot), error) {
	ns := c.arg("duration-ns").U64()
	if ns > uint64(maxSleep) {
		return nil, &SysError{Code: SysTooLarge, Detail: fmt.Sprintf("a sleep of more than %v", maxSleep)}
	}
	return nil, pause(c.soft, time.Duration(ns))
}

// pause blocks for d; the error is that of ctx, if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errCancelled
	}
}

func randomBytes(c *call) (func(abi.Slot), error) {
	n := c.arg("length").U64()
	if n > maxRandom {
		return nil, &SysError{Code: SysTooLarge, Detail: fmt.Sprintf("more than %d random bytes", maxRandom)}
	}
	b := make([]byte, n)
	rand.Read(b) // never fails; it ends the program where the system has no randomness
	return func(s abi.Slot) { s.Bytes(b) }, nil
}

func checkCapability(c *call) (func(abi.Slot), error) {
	r := c.arg("request")
	allowed := c.in.sys.Allowed(r.Field("source-uuid").Clip(maxName), r.Field("capability").Clip(maxName))
	return func(s abi.Slot) { s.Field("allowed").Bool(allowed) }, nil
}

func enumerateCapabilities(c *call) (func(abi.Slot), error) {
	all := c.in.sys.Capabilities(c.caller().Capsule)
	return func(s abi.Slot) {
		s.List(len(all), func(i int, e abi.Slot) { e.Text(lossyString(all[i])) })
	}, nil
}
