package main

import (
	"os"
	"testing"

	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

func TestMain(m *testing.M) { os.Exit(daemontest.Main(m)) }

// patience bounds every wait for a condition.
const patience = daemontest.Patience

// step and outcome are those of the tests' capsule.
type (
	step    = daemontest.Step
	outcome = daemontest.Outcome
)

// site is a data directory on which these tests run daemons.
type site struct{ *daemontest.Site }

func newSite(t *testing.T, lines ...string) *site {
	t.Helper()
	return &site{daemontest.NewSite(t, lines...)}
}

// events asks the daemon for the bodies of one kind.
func events[B event.Body](t *testing.T, s *site, kind event.Kind) []B {
	t.Helper()
	return daemontest.Events[B](t, s.Site, kind)
}
