package upgrade

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
)

// stamping is a program that writes the time as a line, a hundred times a second
// but for what that takes.
const stamping = `echo start >>"$WITNESS/$0"
while [ ! -e "$WITNESS/$1" ]; do date +%s%N; sleep 0.01; done; echo end >>"$WITNESS/$0"`

// BenchmarkRestart follows a persistent program through b.N restarts and tells what
// they cost: bytes lost, and the longest that a line took to the follower, beside
// the same without a restart in the same run.
func BenchmarkRestart(b *testing.B) {
	w := newWorld(b)
	w.begin(b, "persistent", "clock", stamping)
	id := w.handle(b, "clock").ID
	f := &stopwatch{}
	over := make(chan error, 1)
	go func() { over <- f.follow(b.Context(), w.Client, id) }()
	var gaps, delays []time.Duration
	b.ResetTimer()
	for i := range b.N {
		binary := w.next
		if i%2 == 1 {
			binary = w.here
		}
		st := w.restart(b, binary)
		time.Sleep(300 * time.Millisecond) // lines from behind it
		gaps, delays = append(gaps, time.Duration(st.Restart.GapNano)), append(delays, f.longest())
	}
	b.StopTimer()
	f.longest()
	time.Sleep(2 * time.Second)
	still := f.longest()
	w.Release(b, "clock")
	if err := <-over; err != nil {
		b.Fatal(err)
	}
	wrote := w.exited(b, id).Stdout.Bytes
	slices.Sort(gaps)
	slices.Sort(delays)
	b.ReportMetric(float64(wrote)-float64(f.got), "lost-bytes")
	b.ReportMetric(float64(gaps[len(gaps)/2].Microseconds())/1e3, "gap-ms")
	b.ReportMetric(float64(delays[len(delays)/2].Microseconds())/1e3, "longest-delay-ms")
	b.ReportMetric(float64(still.Microseconds())/1e3, "longest-delay-without-ms")
	w.stopAll(b)
}

// stopwatch follows stamps and measures how long each line was on its way.
type stopwatch struct {
	mu   sync.Mutex
	got  uint64
	most time.Duration
	part []byte // of a line
}

// longest is the longest delay since it was asked last.
func (f *stopwatch) longest() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	most := f.most
	f.most = 0
	return most
}

// follow reads to the end of the stream, over restarts.
func (f *stopwatch) follow(ctx context.Context, c *control.Client, id string) error {
	q := &control.LogsQuery{ID: id, Stream: control.Stdout, Follow: true}
	for {
		err := f.once(ctx, c, q)
		if !control.IsRestarting(err) {
			return err
		}
	}
}

func (f *stopwatch) once(ctx context.Context, c *control.Client, q *control.LogsQuery) error {
	lines, err := c.Logs(ctx, q)
	if err != nil {
		return err
	}
	defer lines.Close()
	for chunk, err := range lines.All() {
		if err != nil {
			return err
		}
		if chunk.Dropped > 0 {
			return errors.New("the ring has dropped output")
		}
		q.Cursor = chunk.Next
		f.take(chunk.Data)
	}
	return nil
}

func (f *stopwatch) take(data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got += uint64(len(data))
	f.part = append(f.part, data...)
	for {
		line, rest, whole := bytes.Cut(f.part, []byte("\n"))
		if !whole {
			return
		}
		f.part = rest
		if at, err := strconv.ParseInt(string(line), 10, 64); err == nil {
			f.most = max(f.most, time.Since(time.Unix(0, at)))
		}
	}
}
