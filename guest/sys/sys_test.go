//go:build !wasip1

package sys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

func ExampleConfig() {
	url, found, err := Config("url")
	switch {
	case err != nil:
		fmt.Println(err)
	case !found:
		fmt.Println("no url is configured")
	default:
		fmt.Println(url)
	}
	// Output: guest: not running in a capsule
}

func ExampleNewHandler() {
	log := slog.New(NewHandler(nil)).With("tool", "fetch")
	log.Warn("slow answer", "after", 3*time.Second)
	// The host's log has, under the capsule's name and at level warn:
	//	msg="slow answer" tool=fetch after=3s
}

func TestHandler(t *testing.T) {
	var lines []string
	h := NewHandler(&slog.HandlerOptions{Level: slog.Level(-8), ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "secret" {
			return slog.String("secret", "…")
		}
		return a
	}})
	h.(*handler).w.log = func(l Level, s string) { lines = append(lines, l.String()+": "+s) }
	log := slog.New(h)
	log.Log(context.Background(), slog.Level(-5), "fine")
	log.Debug("x", "secret", "s")
	log.With("a", 1).WithGroup("g").Info("two words", "level", 2)
	log.Warn("w")
	log.Error("e")
	want := []string{"trace: msg=fine", "debug: msg=x secret=…", `info: msg="two words" a=1 g.level=2`, "warn: msg=w", "error: msg=e"}
	if !slices.Equal(lines, want) {
		t.Errorf("lines %q, want %q", lines, want)
	}
}

func TestLayout(t *testing.T) {
	k := mem.NewBlock(32)
	k.U8(4, 1)
	mem.Give(k, 8, []byte("alice"))
	mem.Give(k, 16, []byte("source"))
	mem.Give(k, 24, []byte("2026-11-24T10:00:00.5Z"))
	c := liftCaller(k.View())
	if c.Principal != "alice" || c.SourceID != "source" || c.Time() != time.Date(2026, 11, 24, 10, 0, 0, 5e8, time.UTC) {
		t.Errorf("caller %+v", c)
	}
	if c := liftCaller(mem.NewBlock(32).View()); c != (CallerInfo{}) || !c.Time().IsZero() {
		t.Errorf("no caller is %+v", c)
	}
	elements := mem.NewBlock(16)
	mem.Give(elements, 0, []byte("one"))
	mem.Give(elements, 8, []byte("two"))
	list := mem.NewBlock(8)
	mem.Give(list, 0, elements.View())
	list.U32(4, 2)
	if names := liftTexts(list.View(), 0); !slices.Equal(names, []string{"one", "two"}) {
		t.Errorf("names %q", names)
	}
	fault := mem.NewBlock(16)
	fault.U8(4, uint8(Cancelled))
	if err := liftError(fault.View(), 4); !errors.Is(err, ErrCancelled) || !errors.Is(err, context.Canceled) || err.Error() != "sys: cancelled" {
		t.Error(err)
	}
}

func TestOutside(t *testing.T) {
	_, random := Random(4)
	_, caller := Caller()
	_, allowed := Allowed("id", "net")
	for _, err := range []error{random, caller, allowed, Sleep(time.Hour)} {
		if !errors.Is(err, ErrOutside) {
			t.Error(err)
		}
	}
	if Capabilities() != nil || time.Since(Now()) > time.Minute || Monotonic() <= 0 {
		t.Error("outside of a capsule there are Go's clocks and no capabilities")
	}
	SignalReady()
}
