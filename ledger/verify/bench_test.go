package verify_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/verify"
)

// BenchmarkDir verifies 100,000 events of ordinary size in four segments.
func BenchmarkDir(b *testing.B) {
	dir := b.TempDir()
	l, err := ledger.Open(dir, ledger.Options{Fold: blank{}, Reserve: -1, SegmentEvents: 30_000})
	if err != nil {
		b.Fatal(err)
	}
	const total, batch = 100_000, 1000
	for range total / batch {
		_, err := l.Submit(context.Background(), func(ledger.Header) (es []*event.Event, err error) {
			for i := range batch {
				es = append(es, &event.Event{
					Scope: event.Scope{Principal: "alice", Capsule: "builder", CallID: fmt.Sprint("call-", i), Actor: event.Actor{Kind: event.ActorHost}},
					Body:  &event.InvocationFinished{Outcome: "ok", Returned: "built", Detail: "compiled 12 packages, 3 warnings", DurationNano: 12345678},
				})
			}
			return es, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	events := uint64(0)
	for b.Loop() {
		r, err := verify.Dir(context.Background(), dir, verify.Options{NewState: func() verify.State { return blank{} }})
		if err != nil || !r.Sound() {
			b.Fatal(err, r.Faults)
		}
		events += r.Events
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}
