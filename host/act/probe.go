//go:build linux

package act

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"github.com/oklog/ulid/v2"
)

// ProbeResult is what this machine allows.
type ProbeResult struct {
	// Isolation is the best that works: IsolationPIDNS or IsolationNone.
	Isolation string

	// Applied says what exactly that was, in the words of process.started.
	Applied string

	// Reason says, for people, why namespaces do not work; empty if they do.
	Reason string
}

// Probe tries what the machine allows by really starting a shim in namespaces,
// and taking it back. It blocks for some milliseconds. An error means that not
// even the weaker mode works.
func Probe(shimPath string) (ProbeResult, error) {
	dir, err := os.MkdirTemp("", "astrid-probe-")
	if err != nil {
		return ProbeResult{}, fmt.Errorf("probe: %w", err)
	}
	defer os.RemoveAll(dir)
	h, err := New(nil, Options{Dir: dir, Shim: shimPath})
	if err != nil {
		return ProbeResult{}, fmt.Errorf("probe: %w", err)
	}
	defer h.Close()
	applied, err := h.try(IsolationPIDNS)
	if err == nil {
		return ProbeResult{Isolation: IsolationPIDNS, Applied: applied}, nil
	}
	reason := err.Error()
	if applied, err = h.try(IsolationNone); err != nil {
		return ProbeResult{}, fmt.Errorf("probe: %w", err)
	}
	return ProbeResult{Isolation: IsolationNone, Applied: applied, Reason: reason}, nil
}

// try prepares a shim that will never go.
func (h *Hands) try(isolation string) (applied string, err error) {
	id, err := ulid.New(ulid.Timestamp(time.Now()), rand.Reader)
	if err != nil {
		return "", err
	}
	c, err := h.Prepare(context.Background(), Spec{
		ID: id, Argv: []string{"true"}, Path: "true", Dir: "/", Isolation: isolation,
	})
	if err != nil {
		return "", err
	}
	applied = c.Isolation()
	return applied, c.Abandon()
}
