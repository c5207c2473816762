package query

import (
	"context"
	"sort"
	"testing"
	"time"
)

// seconds is a ledger of events a second apart; the first has the seq first.
type seconds struct{ first, last uint64 }

func (l seconds) Bounds() (first, last uint64) { return l.first, l.last }

func (l seconds) SeqAt(_ context.Context, ms uint64) (uint64, error) {
	if l.last == 0 {
		return 1, nil
	}
	n := int(l.last-l.first) + 1
	return l.first + uint64(sort.Search(n, func(i int) bool { return epoch+1000*uint64(i) >= ms })), nil
}

func TestRange(t *testing.T) {
	at := func(s int) time.Time { return time.UnixMilli(epoch + 1000*int64(s)) }
	full := seconds{5, 9} // at(0) to at(4)
	for _, c := range []struct {
		name     string
		log      seconds
		f        Filter
		from, to uint64
	}{
		{"everything", full, Filter{}, 5, 9},
		{"seqs", full, Filter{FromSeq: 6, ToSeq: 7}, 6, 7},
		{"seqs beyond", full, Filter{FromSeq: 1, ToSeq: 100}, 5, 9},
		{"times, both inclusive", full, Filter{Since: at(1), Until: at(3)}, 6, 8},
		{"between two events", full, Filter{Since: at(1).Add(time.Millisecond), Until: at(3).Add(-time.Millisecond)}, 7, 7},
		{"times and seqs", full, Filter{Since: at(1), FromSeq: 7, Until: at(3), ToSeq: 100}, 7, 8},
		{"after the last", full, Filter{Since: at(5)}, 10, 9},
		{"before the first", full, Filter{Until: at(-1)}, 5, 4},
		{"before 1970", full, Filter{Since: time.Unix(-9, 0), Until: time.Unix(-5, 0)}, 5, 4},
		{"an empty ledger", seconds{}, Filter{}, 1, 0},
		{"times in an empty ledger", seconds{}, Filter{Since: at(0), Until: at(1)}, 1, 0},
	} {
		from, to, err := c.f.Range(t.Context(), c.log)
		if err != nil || from != c.from || to != c.to {
			t.Errorf("%s: %d to %d, %v; want %d to %d", c.name, from, to, err, c.from, c.to)
		}
	}
}
