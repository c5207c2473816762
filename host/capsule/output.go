package capsule

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"
)

// Bounds of what a guest may print, in bytes.
const (
	maxLine   = 4 << 10  // of a line; a longer one is cut into several
	maxPerRun = 64 << 10 // during one invocation, or a minute of it; then one line tells of it
	tailBytes = 8 << 10  // of the end of stderr, kept for the reason of a trap
	maxWords  = 1 << 10  // of that, in the reason itself
)

// refill is after how long an invocation that goes on has its allowance again: a
// background run never ends.
const refill = time.Minute

// output takes what a guest prints on one stream and logs it line by line. A
// guest may print as fast as it can, so an invocation has an allowance.
type output struct {
	log   *slog.Logger
	level slog.Level

	mu   sync.Mutex // held for one Write at a time; the log may be slow
	line []byte
	used int
	full time.Time // when the allowance was whole
	tail []byte
}

func newOutput(log *slog.Logger, level slog.Level, stream string) *output {
	return &output{log: log.With("stream", stream), level: level}
}

// Write implements io.Writer for WASI. It never fails: a guest has no use for
// the state of the daemon's log.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keep(p)
	for rest := p; len(rest) > 0; {
		n := min(len(rest), maxLine-len(o.line))
		end := bytes.IndexByte(rest[:n], '\n')
		if end >= 0 {
			n = end
		}
		o.line = append(o.line, rest[:n]...)
		rest = rest[n:]
		if end >= 0 {
			rest = rest[1:]
		}
		if end >= 0 || len(o.line) == maxLine {
			o.flush()
		}
	}
	return len(p), nil
}

func (o *output) keep(p []byte) {
	if len(p) >= tailBytes {
		o.tail = append(o.tail[:0], p[len(p)-tailBytes:]...)
		return
	}
	o.tail = append(o.tail, p...)
	if over := len(o.tail) - tailBytes; over > 0 {
		o.tail = append(o.tail[:0], o.tail[over:]...)
	}
}

// flush logs the line that has gathered.
func (o *output) flush() {
	if now := time.Now(); now.Sub(o.full) >= refill {
		o.used, o.full = 0, now
	}
	before := o.used
	o.used += len(o.line) + 1
	switch {
	case o.used <= maxPerRun:
		o.log.Log(context.Background(), o.level, "guest: "+string(bytes.ToValidUTF8(o.line, []byte("\uFFFD"))))
	case before <= maxPerRun:
		o.log.Warn("guest prints too much; the rest of this invocation, or of the minute, is not logged", "bytes", maxPerRun)
	}
	o.line = o.line[:0]
}

// next starts the allowance and the tail of another invocation, after what is
// left of the one before is logged.
func (o *output) next() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.line) > 0 {
		o.flush()
	}
	o.used, o.full, o.tail = 0, time.Now(), o.tail[:0]
}

// last returns what a guest that died had to say: from its last panic on, or
// else the end of what it printed in this invocation.
func (o *output) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	words := o.tail
	// As Go and Rust say it.
	if i := max(bytes.LastIndex(words, []byte("panic: ")), bytes.LastIndex(words, []byte("panicked at "))); i >= 0 {
		words = words[bytes.LastIndexByte(words[:i], '\n')+1:]
		words = words[:min(len(words), maxWords)]
	}
	words = words[max(0, len(words)-maxWords):]
	return string(bytes.TrimSpace(bytes.ToValidUTF8(words, []byte("\uFFFD"))))
}
