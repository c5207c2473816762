package powercut

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/astrid-os/processledger/internal/daemontest"
)

// recording is the story, recorded.
type recording struct {
	site      *daemontest.Site
	h         *History
	calls     []*Call
	trace     string // the file
	truth     *truth
	mode      string // the isolation that it was recorded in
	truthFile string // holds truth.raw, for workers
}

// record records the story.
func record(t *testing.T) *recording {
	t.Helper()
	if why := tracer(); why != "" {
		t.Skip(why)
	}
	site := newSite(t)
	h, err := NewHistory(site.Dir, "bin", "data/cache", "data/capsules", "witness", "trace", "log", "boot_id")
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, site)
	s.story(t)
	calls, end := s.close(t)
	if err := h.Take(calls, end); err != nil {
		t.Fatal(err)
	}
	if len(h.Unplaced) > 0 {
		t.Fatalf("the trace is not understood: %v", h.Unplaced)
	}
	mode, err := daemontest.Isolation()
	if err != nil {
		t.Fatal(err)
	}
	rec := &recording{site: site, mode: mode, h: h, calls: calls, trace: s.trace, truth: newTruth(t, site, calls), truthFile: filepath.Join(site.Dir, "truth")}
	if err := os.WriteFile(rec.truthFile, marshal(rec.truth.raw), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d system calls with %d changes and %d flushes; %d events, %d promises, %d exit records",
		len(calls), len(h.ops), len(h.syncs), len(rec.truth.events), len(rec.truth.promises), len(rec.truth.records))
	return rec
}
