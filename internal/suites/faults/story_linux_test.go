package faults

import (
	"testing"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// story is the whole ledger of a running daemon.
func story(t testing.TB, s *daemontest.Site) (es []*event.Event) {
	t.Helper()
	stream, err := s.Client.Events(t.Context(), &control.EventsQuery{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for e, err := range stream.All() {
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, e)
	}
	return es
}
