package sys

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// Level is how much a line of the log matters.
type Level uint8

// The levels, in the contract's order.
const (
	LevelTrace Level = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
)

var levelNames = [...]string{"trace", "debug", "info", "warn", "error"}

// String returns the level's name in the contract.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level %d", uint8(l))
}

// Log writes a line to the host's log, where it stands under the capsule's
// name. What is not UTF-8 becomes U+FFFD.
func Log(l Level, message string) {
	message = strings.ToValidUTF8(message, "\uFFFD")
	if !mem.Inside {
		fmt.Fprintf(os.Stderr, "%s %s\n", strings.ToUpper(l.String()), message)
		return
	}
	mem.Enter(func() { rawLog(uint32(l), message) })
}

// NewHandler returns a handler for log/slog that writes to the host's log. The
// line is made as slog's text handler does, without time and level, which the
// host adds. Levels below slog's debug are trace. nil stands for the default
// options, which leave out what is below info.
func NewHandler(o *slog.HandlerOptions) slog.Handler {
	var own slog.HandlerOptions
	if o != nil {
		own = *o
	}
	replace := own.ReplaceAttr
	own.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		if replace != nil {
			a = replace(groups, a)
		}
		return a
	}
	w := &lineWriter{log: Log}
	return &handler{text: slog.NewTextHandler(w, &own), w: w}
}

// handler is a text handler that tells its writer the level of each line.
type handler struct {
	text slog.Handler
	w    *lineWriter
}

// lineWriter gets one Write for each record, and is shared by the handlers
// that were made from one.
type lineWriter struct {
	mu    sync.Mutex
	level Level
	log   func(Level, string)
}

// Write implements io.Writer.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.log(w.level, strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.text.Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.w.level = levelOf(r.Level)
	return h.text.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{text: h.text.WithAttrs(attrs), w: h.w}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{text: h.text.WithGroup(name), w: h.w}
}

func levelOf(l slog.Level) Level {
	switch {
	case l < slog.LevelDebug:
		return LevelTrace
	case l < slog.LevelInfo:
		return LevelDebug
	case l < slog.LevelWarn:
		return LevelInfo
	case l < slog.LevelError:
		return LevelWarn
	}
	return LevelError
}
