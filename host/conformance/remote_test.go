//go:build linux

package conformance_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/host/conformance"
)

var adapter = flag.String("conformance.host", "", "`COMMAND` that speaks the protocol of the package for another host; it is run by sh")

// newHost returns the host under test: this project's, unless a flag names
// another.
func newHost(t testing.TB) conformance.Host {
	if *adapter == "" {
		return &inProcess{t: t}
	}
	cmd := exec.Command("sh", "-c", *adapter)
	cmd.Stderr = os.Stderr
	to, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return conformance.Dial(&pipes{from, to, cmd})
}

// pipes are the standard streams of an adapter.
type pipes struct {
	io.Reader
	io.WriteCloser
	cmd *exec.Cmd
}

// Close ends the adapter by the end of its input.
func (p *pipes) Close() error { return errors.Join(p.WriteCloser.Close(), p.cmd.Wait()) }

// TestProtocol plays cases on this host as on another's: over the protocol.
func TestProtocol(t *testing.T) {
	module, err := guests[0].build()
	if m := (*missing)(nil); errors.As(err, &m) {
		t.Skip(m.what)
	} else if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- conformance.Serve(t.Context(), theirs, &inProcess{t: t}) }()
	lane := &conformance.Lane{Host: conformance.Dial(ours)}
	all := cases(t)
	if err := lane.Host.Start(t.Context(), conformance.SetupFor(module, all)); err != nil {
		t.Fatal(err)
	}
	played := 0
	for _, c := range all {
		if strings.HasPrefix(c.Name, "spawn/") || c.Name == "cancel/wait" || c.Name == "restart/ephemeral" {
			play(t, lane, c)
			played++
		}
	}
	if played < 10 {
		t.Errorf("%d cases were played", played)
	}
	if err := errors.Join(lane.Host.Close(), <-served); err != nil {
		t.Error(err)
	}
	if _, err := lane.Host.Invoke(context.Background(), conformance.Call{}); err == nil {
		t.Error("a closed connection answers")
	}
}
