package projector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// million is a history of n events as a busy daemon writes them: full lives of
// processes of 20 principals in 5 capsules, 200 of them overlapping, every
// tenth spawn refused, every fifth process signalled.
func million(n int) *history {
	const overlap = 200
	h := &history{events: make([]*event.Event, 0, n+16)}
	var live []event.Scope
	for i := 0; len(h.events) < n; i++ {
		sc := event.Scope{
			Principal: fmt.Sprintf("agent-%02d", i%20), Capsule: fmt.Sprintf("capsule-%d", i%5),
			Instance: fmt.Sprintf("01J000000000000000000%05d", i%100), CallID: fmt.Sprintf("call-%d", i/4),
			Handle: testID(uint64(1_700_000_000_000+i), byte(i)), Actor: event.Actor{Kind: event.ActorGuest},
		}
		h.add(sc, &event.SpawnRequested{
			Tier: event.Tier(1 + i%2), Command: "git", Args: []string{"fetch", "--depth", "1", "origin"}, ArgsCount: 4,
			Cwd: "src", EnvKeys: []string{"HOME", "GOCACHE", "GIT_DIR", "CI", "TERM", "EDITOR"}, Label: "git fetch",
		})
		if i%10 == 9 {
			h.add(sc, &event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "quota", Rule: "quota: principal"})
			continue
		}
		d := granted()
		d.Quotas = []event.QuotaSeen{{Scope: "principal:" + sc.Principal, Used: 3, Cap: 8}, {Scope: "capsule:" + sc.Capsule, Used: 3, Cap: 8}}
		h.add(sc, d)
		id := event.Identity{PID: uint32(i), StartTicks: 99, PidfsHandle: make([]byte, 8), PidNamespace: 4026531836}
		h.add(sc, &event.ProcessStarted{
			Program: id, Shim: id, Isolation: "pidns",
			Executable:  event.File{Path: "/usr/bin/git", Device: 1, Inode: 2, SHA256: make([]byte, 32)},
			StartedWall: 1_700_000_000e9, StartedBoot: 5e12,
		})
		live = append(live, sc)
		if len(live) < overlap {
			continue
		}
		old := live[0]
		live = live[1:]
		if i%5 == 0 {
			r := h.add(old, &event.SignalRequested{Signal: 15, Target: event.TargetTree, Cause: "signal"})
			h.add(old, &event.SignalSent{Request: r.Seq, Signal: 15, Delivered: true})
		}
		h.add(old, &event.ProcessExited{
			Exit: code(0), Cause: "self", UserNano: 1e6, SystemNano: 1e6, MaxRSSKiB: 9000,
			Stdout: event.StreamSummary{Bytes: 100, SHA256: make([]byte, 32)}, Stderr: event.StreamSummary{SHA256: make([]byte, 32)},
			EndedWall: 1_700_000_001e9, EndedBoot: 5e12,
		})
		h.add(old, &event.HandleReleased{Reason: "dropped"})
	}
	return h
}

func reportEvents(b *testing.B, perOp int) {
	b.ReportMetric(float64(perOp)*float64(b.N)/b.Elapsed().Seconds(), "ev/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkApply replays a million decoded events.
func BenchmarkApply(b *testing.B) {
	h := million(1_000_000)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		h.applied(b)
	}
	reportEvents(b, len(h.events))
}

// BenchmarkDecodeApply replays a million events from their stored bytes.
func BenchmarkDecodeApply(b *testing.B) {
	h := million(1_000_000)
	stored := make([][]byte, len(h.events))
	for i, e := range h.events {
		stored[i] = event.Encode(e)
	}
	n := len(h.events)
	h = nil
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		s := New()
		for _, raw := range stored {
			e, err := event.Decode(raw)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Apply(e); err != nil {
				b.Fatal(err)
			}
		}
	}
	reportEvents(b, n)
}

// BenchmarkReplayLedger reads a million events from segment files, in turns: as
// an auditor who replays them from the first, as one who looks at the headers
// only, and as bbolt's own cursor walks over them, which cannot be had for less.
// The last figures are of the budgets: 1.4 and 6 million events a second.
func BenchmarkReplayLedger(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "ledger")
	n := fill(b, dir, million(1_000_000))
	l, err := Open(dir, ledger.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	want := l.Snapshot().Encode()
	var replay, headers, bare []float64
	for range b.N {
		replay = append(replay, rate(b, n, func() error { return replayAll(l, want) }))
		headers = append(headers, rate(b, n, func() error { return readHeaders(l) }))
		bare = append(bare, rate(b, n, func() error { return walkBare(dir) }))
	}
	b.ReportMetric(median(replay), "replay-ev/s")
	b.ReportMetric(median(headers), "headers-ev/s")
	b.ReportMetric(median(bare), "bbolt-ev/s")
	b.ReportMetric(median(replay)/1.4e6, "replay/budget")
	b.ReportMetric(median(headers)/6e6, "headers/budget")
	b.ReportMetric(0, "ns/op")
}

func rate(b *testing.B, n int, fn func() error) float64 {
	b.Helper()
	began := time.Now()
	if err := fn(); err != nil {
		b.Fatal(err)
	}
	return float64(n) / time.Since(began).Seconds()
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

func replayAll(l *Live, want []byte) error {
	s := New()
	for e, err := range l.Ledger().Events(context.Background(), 1, 0) {
		if err == nil {
			err = s.Apply(e)
		}
		if err != nil {
			return err
		}
	}
	if !bytes.Equal(s.Encode(), want) {
		return errors.New("another state")
	}
	return nil
}

func readHeaders(l *Live) error {
	for raw, err := range l.Ledger().Raw(context.Background(), 1, 0) {
		if err == nil {
			_, err = event.DecodeHeader(raw.Bytes)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// walkBare walks over the events of the sealed segments, which bbolt lets a
// second reader open, and of a copy of the newest.
func walkBare(dir string) error {
	files, err := ledger.Segments(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		path := f.Path
		if f == files[len(files)-1] {
			path += ".copy"
			if b, err := os.ReadFile(f.Path); err != nil || os.WriteFile(path, b, 0o600) != nil {
				return errors.Join(err, errors.New("no copy of the newest segment"))
			}
			defer os.Remove(path)
		}
		if err := walkFile(path); err != nil {
			return err
		}
	}
	return nil
}

func walkFile(path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		sum := 0
		return tx.Bucket([]byte("events")).ForEach(func(_, v []byte) error { sum += len(v); return nil })
	})
}

// BenchmarkOpen opens a ledger whose newest segment is nearly full: the worst
// start. The metric is what a daemon waits for: without a snapshot, as after an
// upgrade that reads new kinds of events, and with one.
func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "ledger")
	fill(b, dir, million(ledger.DefaultSegmentEvents-2000))
	for _, way := range []struct {
		name string
		o    ledger.Options
	}{{"snapshot", ledger.Options{}}, {"replay", ledger.Options{SnapshotEvents: -1}}} {
		b.Run(way.name, func(b *testing.B) {
			for range b.N {
				l, err := Open(dir, way.o)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// fill makes a ledger of a history and returns how many events it holds then.
func fill(b testing.TB, dir string, h *history) int {
	b.Helper()
	l, err := Open(dir, ledger.Options{})
	if err != nil {
		b.Fatal(err)
	}
	n := commit(b, l, h.events, h.sends(), 1000)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	return n
}

// sends returns the signal.sent events by the seq of their requests.
func (h *history) sends() map[uint64]*event.SignalSent {
	sends := map[uint64]*event.SignalSent{}
	for _, e := range h.events {
		if sent, ok := e.Body.(*event.SignalSent); ok {
			sends[sent.Request] = sent
		}
	}
	return sends
}

// commit commits a part of a history, some events at a time, and returns how
// many the ledger holds then. The ledger's own events shift the seqs that a
// signal.sent refers to; sends are those of the whole history.
func commit(b testing.TB, l *Live, es []*event.Event, sends map[uint64]*event.SignalSent, size int) int {
	b.Helper()
	for part := range slices.Chunk(es, size) {
		_, err := l.Decide(context.Background(), func(_ *State, next ledger.Header) ([]*event.Event, error) {
			for i, e := range part {
				if sent := sends[e.Seq]; sent != nil && e.Kind() == event.KindSignalRequested {
					sent.Request = next.Seq + uint64(i)
				}
			}
			return part, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	_, last := l.Ledger().Bounds()
	return int(last)
}

// BenchmarkClone copies a state of 1,000 handles, which is what a refused
// transition costs.
func BenchmarkClone(b *testing.B) {
	s := crowd(1000).applied(b)
	b.ReportAllocs()
	for b.Loop() {
		s.Clone()
	}
}

// BenchmarkFreeze copies what a snapshot of 1,000 handles is encoded from: how
// long it keeps the committer.
func BenchmarkFreeze(b *testing.B) {
	s := crowd(1000).applied(b)
	b.ReportAllocs()
	for range b.N {
		encode := s.freeze()
		b.StopTimer()
		encode()
		b.StartTimer()
	}
}

// BenchmarkEncode encodes a state of 1,000 handles, which is what a new segment
// costs.
func BenchmarkEncode(b *testing.B) {
	s := crowd(1000).applied(b)
	b.SetBytes(int64(len(s.Encode())))
	b.ReportAllocs()
	for b.Loop() {
		s.Encode()
	}
}

// crowd is a history that leaves n processes living.
func crowd(n int) *history {
	var h history
	for i := range n {
		sc := scopeOf(byte(i))
		sc.Handle = testID(uint64(i+1), byte(i))
		h.add(sc, &event.SpawnRequested{Tier: event.TierBackground, Command: "sleep"})
		h.add(sc, granted())
		h.add(sc, &event.ProcessStarted{Program: event.Identity{PID: 1, PidfsHandle: make([]byte, 8)}, StartedWall: 1})
	}
	return &h
}
