//go:build linux

package daemontest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger/event"
)

// Patience bounds every wait for a condition: long, because the machine may be
// busy with other tests.
const Patience = 30 * time.Second

// Eventually polls until the condition holds.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// Events asks the daemon of a site for the bodies of one kind.
func Events[B event.Body](t testing.TB, s *Site, kind event.Kind) (out []B) {
	t.Helper()
	stream, err := s.Client.Events(t.Context(), &control.EventsQuery{Filter: query.Filter{Kinds: []event.Kind{kind}}})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for e, err := range stream.All() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Body.(B))
	}
	return out
}

// AwaitKind waits until an event of that kind is durable.
func (s *Site) AwaitKind(ctx context.Context, kind event.Kind) {
	stream, err := s.Client.Events(ctx, &control.EventsQuery{Follow: true, Filter: query.Filter{Kinds: []event.Kind{kind}}})
	if err != nil {
		return
	}
	defer stream.Close()
	for range stream.All() {
		return
	}
}

// WriteFile writes a small file, 0644.
func WriteFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
