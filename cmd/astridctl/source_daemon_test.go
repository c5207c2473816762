package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger/event"
)

// restartedLedger answers as a daemon that is restarted under its first follower,
// and then has more events.
type restartedLedger struct {
	mu        sync.Mutex
	matching  []uint64 // before the restart
	last      uint64
	then      []uint64 // after it, beside those before
	thenLast  uint64
	restarted bool
}

func (l *restartedLedger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.URL.Path == "/v1/status" {
		_ = json.NewEncoder(w).Encode(&control.Status{Ledger: control.LedgerStatus{First: 1, Last: l.last}})
		return
	}
	q, err := control.ParseEventsQuery(r.URL.Query(), query.Now{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", control.TypeFrames)
	f := control.NewFrameWriter(w)
	var found []uint64
	for _, seq := range l.matching {
		if seq >= q.Filter.FromSeq && (q.Filter.ToSeq == 0 || seq <= q.Filter.ToSeq) {
			found = append(found, seq)
		}
	}
	if q.Reverse {
		slices.Reverse(found)
	}
	if q.Limit > 0 && len(found) > q.Limit {
		if q.Follow {
			found = found[len(found)-q.Limit:]
		} else {
			found = found[:q.Limit]
		}
	}
	for _, seq := range found {
		_ = f.Event(&event.Event{Header: event.Header{Seq: seq}, Body: &event.DaemonStopped{}})
	}
	if q.Follow && !l.restarted {
		l.restarted, l.matching, l.last = true, append(l.matching, l.then...), l.thenLast
		_ = f.Error(control.Errorf(control.CodeRestarting, "the daemon is being restarted"))
		return
	}
	_ = f.End(l.last)
}

// TestFollowOverRestart follows the last two over a restart in which three more
// come: each is told once, whatever was told before it.
func TestFollowOverRestart(t *testing.T) {
	for _, c := range []struct{ before, want []uint64 }{
		{nil, []uint64{11, 12, 13}},
		{[]uint64{4}, []uint64{4, 11, 12, 13}},
		{[]uint64{2, 3, 4}, []uint64{3, 4, 11, 12, 13}},
	} {
		t.Run(fmt.Sprint(c.before), func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			s := httptest.NewUnstartedServer(&restartedLedger{matching: c.before, last: 9, then: []uint64{11, 12, 13}, thenLast: 14})
			_ = s.Listener.Close()
			s.Listener = listener
			s.Start()
			defer s.Close()
			d := newDaemonSource(socket)
			defer d.close()
			var got []uint64
			for e, err := range d.events(t.Context(), &control.EventsQuery{Follow: true, Limit: 2}) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e.Seq)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("told %d, want %d", got, c.want)
			}
		})
	}
}
