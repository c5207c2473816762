//go:build linux

package act

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
	removeProbes(os.TempDir())
	// A crash from here on leaves the directory, and a shim that leaves by
	// itself; a later probe removes it.
	dir, err := os.MkdirTemp("", probePrefix)
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

// probePrefix begins the names of the directories that probes work in. They are
// not in the data directory, because a full one is no reason to find no isolation.
const probePrefix = "astrid-probe-"

// probeLeft is how old a probe's directory is that nobody works in any more: a
// probe takes milliseconds.
const probeLeft = 10 * time.Minute

// removeProbes removes what probes of this user left in tmp when their daemon was
// killed. What cannot be removed is in nobody's way.
func removeProbes(tmp string) {
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), probePrefix) {
			continue
		}
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < probeLeft {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == uint32(os.Geteuid()) {
			_ = os.RemoveAll(filepath.Join(tmp, e.Name()))
		}
	}
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
