package main

import (
	"bytes"
	"errors"
	"log/slog"
	"time"

	"github.com/astrid-os/processledger/guest/sys"
)

// system asks the host about itself.
func system() error {
	var c checks
	slog.New(sys.NewHandler(nil)).Warn("a line of the selftest", "n", 1)
	sys.Log(sys.LevelInfo, "not UTF-8: \xff")
	_, found, err := sys.Config("selftest-no-such-key")
	c.that(err == nil && !found, "get-config: %t, %v", found, err)
	caller, err := sys.Caller()
	c.that(err == nil && caller.Principal == "alice" && time.Since(caller.Time()) < time.Minute, "get-caller: %+v, %v", caller, err)
	c.that(sys.Now().Sub(time.Now()).Abs() < time.Second, "clock-ms: %v", sys.Now())
	before := sys.Monotonic()
	c.no(sys.Sleep(20*time.Millisecond), "sleep-ns")
	c.that(sys.Monotonic()-before >= 20*time.Millisecond, "slept for %v", sys.Monotonic()-before)
	first, err := sys.Random(10_000)
	second, err2 := sys.Random(10_000)
	c.that(err == nil && err2 == nil && len(first) == 10_000 && !bytes.Equal(first, second), "random-bytes: %v, %v", err, err2)
	allowed, err := sys.Allowed("00000000-0000-0000-0000-000000000000", "host_process")
	c.that(err == nil && !allowed, "a stranger's capability: %t, %v", allowed, err)
	c.that(len(sys.Capabilities()) > 0, "capabilities: %q", sys.Capabilities())
	sys.SignalReady()
	c.that(!errors.Is(sys.Sleep(0), sys.ErrOutside), "not in a capsule")
	return c.err()
}
