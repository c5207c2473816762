package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

func TestMain(m *testing.M) { os.Exit(daemontest.Main(m)) }

// astridctl builds the tool, once, beside the daemon's binaries.
var astridctl = sync.OnceValues(func() (string, error) {
	dir, err := daemontest.Binaries()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "astridctl")
	cmd := exec.Command("go", "build", "-o", path, "github.com/astrid-os/processledger/cmd/astridctl")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// ctl runs astridctl on the site's data directory and returns what it said.
func ctl(t testing.TB, s *daemontest.Site, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	path, err := astridctl()
	if err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	cmd := exec.Command(path, append([]string{"--data", s.Data}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("astridctl %q left with %d, want %d\n%s%s", args, got, want, out.Bytes(), said.Bytes())
	}
	return out.String(), said.String()
}

// ctlJSON is ctl with --json, decoded.
func ctlJSON[T any](t testing.TB, s *daemontest.Site, want int, args ...string) (v T) {
	t.Helper()
	out, _ := ctl(t, s, want, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return v
}

// newSite is a site with the driver and a place for witnesses.
func newSite(t testing.TB, lines ...string) *daemontest.Site {
	t.Helper()
	s := daemontest.NewSite(t, lines...)
	s.WithDriver(t)
	if err := os.Mkdir(s.Witness(), 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

// drive takes steps that must not fail.
func drive(t testing.TB, s *daemontest.Site, steps ...daemontest.Step) []daemontest.Outcome {
	t.Helper()
	out, err := s.Drive(t.Context(), "alice", "call", steps...)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range out {
		if o.Err != "" {
			t.Fatalf("%+v: %s", steps[i], o.Err)
		}
	}
	return out
}

// handles lists what ps shows.
func handles(t testing.TB, s *daemontest.Site, all bool) []control.Handle {
	t.Helper()
	ps, err := s.Client.Ps(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	return ps.Handles
}

// only is the one process that ps shows.
func only(t testing.TB, s *daemontest.Site, all bool) control.Handle {
	t.Helper()
	hs := handles(t, s, all)
	if len(hs) != 1 {
		t.Fatalf("ps shows %+v", hs)
	}
	return hs[0]
}

// phase waits until the daemon is in that phase, and returns its status.
func phase(t testing.TB, s *daemontest.Site, want control.Phase) (st *control.Status) {
	t.Helper()
	daemontest.Eventually(t, "the daemon is "+string(want), func() bool {
		var err error
		st, err = s.Client.Status(t.Context())
		return err == nil && st.Phase == want
	})
	return st
}

// ofHandle are the events of one kind and handle.
func ofHandle[B event.Body](t testing.TB, s *daemontest.Site, kind event.Kind, id string) (out []*event.Event) {
	t.Helper()
	for _, e := range story(t, s) {
		if _, ok := e.Body.(B); ok && e.Kind() == kind && e.Handle.String() == id {
			out = append(out, e)
		}
	}
	return out
}
