package sys

import (
	"io"
	"time"
	"unicode/utf8"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// Config returns the value that the capsule's configuration has for a key, and
// whether it has one. A value that is not a string is its JSON text.
func Config(key string) (value string, found bool, err error) {
	if !utf8.ValidString(key) {
		return "", false, nil // the host's keys are UTF-8
	}
	v, err := call(16, func(ret uint32) { rawGetConfig(key, ret) })
	if err != nil {
		return "", false, err
	}
	value, found = v.MaybeText(4)
	return value, found, nil
}

// CallerInfo is on whose behalf the capsule runs now. Without a caller, as in
// run(), all of it is empty.
type CallerInfo struct {
	Principal string // empty: none
	SourceID  string // who called: a capsule's id, or the host's
	Timestamp string // of the call, as the host wrote it: RFC 3339
}

// Time returns the timestamp, the zero time if there is none.
func (c CallerInfo) Time() time.Time {
	t, err := time.Parse(time.RFC3339Nano, c.Timestamp)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Caller returns on whose behalf the capsule runs now.
func Caller() (CallerInfo, error) {
	v, err := call(32, rawGetCaller)
	if err != nil {
		return CallerInfo{}, err
	}
	return liftCaller(v), nil
}

func liftCaller(v mem.View) CallerInfo {
	principal, _ := v.MaybeText(4)
	return CallerInfo{Principal: principal, SourceID: v.Text(16), Timestamp: v.Text(24)}
}

// SignalReady tells the host that a capsule with run() has begun its work. It
// may be called again, to no effect.
func SignalReady() {
	if mem.Inside {
		mem.Enter(rawSignalReady)
	}
}

// Now returns the host's wall clock, in whole milliseconds.
func Now() time.Time {
	if !mem.Inside {
		return time.Now().Truncate(time.Millisecond)
	}
	var ms uint64
	mem.Enter(func() { ms = rawClockMS() })
	return time.UnixMilli(int64(ms))
}

var began = time.Now()

// Monotonic returns the host's monotonic clock: nanoseconds from a moment that
// is not told.
func Monotonic() time.Duration {
	if !mem.Inside {
		return time.Since(began)
	}
	var ns uint64
	mem.Enter(func() { ns = rawClockMonotonicNS() })
	return time.Duration(ns)
}

// MaxSleep is how long the host sleeps in one call; [Sleep] makes several.
const MaxSleep = 60 * time.Second

// Sleep stops the instance for d, or until the call of the capsule is
// cancelled: then the error is ErrCancelled.
func Sleep(d time.Duration) error {
	for {
		part := min(max(d, 0), MaxSleep)
		if _, err := call(16, func(ret uint32) { rawSleepNS(uint64(part), ret) }); err != nil {
			return err
		}
		if d -= part; d <= 0 {
			return nil
		}
	}
}

// MaxRandom is how many random bytes the host gives in one call; [Random] and
// [Reader] make several.
const MaxRandom = 4096

// Random returns n bytes of the host's secure randomness.
func Random(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(Reader, b)
	return b, err
}

// Reader reads the host's secure randomness.
var Reader io.Reader = reader{}

type reader struct{}

// Read implements io.Reader.
func (reader) Read(p []byte) (int, error) {
	n := min(len(p), MaxRandom)
	v, err := call(16, func(ret uint32) { rawRandomBytes(uint64(n), ret) })
	if err != nil {
		return 0, err
	}
	return copy(p, v.Bytes(4)), nil
}

// Allowed tells whether the capsule with this source id has a capability. Of
// one that the host does not know it is false.
func Allowed(sourceID, capability string) (bool, error) {
	if !utf8.ValidString(sourceID) || !utf8.ValidString(capability) {
		return false, nil
	}
	v, err := call(16, func(ret uint32) { rawCheckCapability(sourceID, capability, ret) })
	if err != nil {
		return false, err
	}
	return v.Bool(4), nil
}

// Capabilities returns the names of the capabilities that this capsule has;
// none outside of a capsule.
func Capabilities() []string {
	v := mem.Call(8, rawEnumerateCapabilities)
	if v == nil {
		return nil
	}
	return liftTexts(v, 0)
}

// liftTexts reads a list<string>.
func liftTexts(v mem.View, at uint32) []string {
	var all []string
	for _, e := range v.List(at, 8) {
		all = append(all, e.Text(0))
	}
	return all
}
