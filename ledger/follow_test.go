package ledger

import (
	"context"
	"sync"
	"testing"
)

func TestFollow(t *testing.T) {
	b := &breaker{step: "append", persist: true}
	l := open(t, t.TempDir(), Options{SegmentEvents: 7, Around: b.around})
	fill(t, l, 10)
	ctx, cancel := context.WithCancel(context.Background())
	var followers sync.WaitGroup
	var mu sync.Mutex
	at := map[int]uint64{}
	for i := range 4 {
		followers.Go(func() {
			want := uint64(i * 5)
			want = max(want, 1)
			for e, err := range l.Follow(ctx, uint64(i*5)) {
				if err != nil {
					wantErr(t, err, context.Canceled)
					return
				}
				if e.Seq != want {
					t.Errorf("follower %d got event %d, want %d", i, e.Seq, want)
				}
				want++
				mu.Lock()
				at[i] = e.Seq
				mu.Unlock()
			}
		})
	}
	var writers sync.WaitGroup
	for range 3 {
		writers.Go(func() { fill(t, l, 20) })
	}
	writers.Wait()
	b.armed.Store(true)
	_, err := l.Submit(ctx, one(note("in doubt")))
	wantErr(t, err, ErrFailed)
	if err := l.Reopen(ctx); err != nil {
		t.Fatal(err)
	}
	last := submit(t, l, "last")
	waitUntil(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return at[0] == last && at[1] == last && at[2] == last && at[3] == last
	})
	cancel()
	followers.Wait()
}

func TestFollowEndsWithTheLedger(t *testing.T) {
	l := open(t, t.TempDir(), Options{})
	done := make(chan error)
	go func() {
		var last error
		for _, err := range l.Follow(context.Background(), 100) {
			last = err
		}
		done <- last
	}()
	waitUntil(t, func() bool { l.news.mu.Lock(); defer l.news.mu.Unlock(); return l.news.ch != nil })
	closeLedger(t, l)
	wantErr(t, <-done, ErrClosed)
}
