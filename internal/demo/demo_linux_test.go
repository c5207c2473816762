package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain ends as it began.
func TestMain(m *testing.M) {
	code := m.Run()
	if ctlDir != "" {
		_ = os.RemoveAll(ctlDir)
	}
	os.Exit(code)
}

var ctlDir string

// astridctl builds the program that the demo runs as a person would.
var astridctl = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "demo-test-")
	if err != nil {
		return "", err
	}
	ctlDir = dir
	path := filepath.Join(dir, "astridctl")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/astridctl")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return path, nil
})

// transcript is the demo's output; it can end the demo at a text.
type transcript struct {
	mu   sync.Mutex // held for one write or look
	b    bytes.Buffer
	at   string
	stop context.CancelFunc
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.b.Write(b)
	if w.at != "" && strings.Contains(w.b.String(), w.at) {
		w.stop()
	}
	return n, err
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// site is the demo's directory, as its output names it.
func (w *transcript) site(t *testing.T) string {
	t.Helper()
	for _, word := range strings.Fields(w.String()) {
		if strings.Contains(word, "/astrid-demo-") {
			return strings.TrimRight(word, ",.")
		}
	}
	t.Fatalf("no directory is named in\n%s", w.String())
	return ""
}

// runDemo runs the demo with a short step in place of the longest one, git and
// go in a fresh workspace, until it is through or has said at.
func runDemo(t *testing.T, at string) (*transcript, error) {
	t.Helper()
	self, err := astridctl()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	out := &transcript{at: at, stop: cancel}
	err = run(ctx, Options{Self: self, Out: out, Err: out}, func(s *site) []step {
		steps := s.steps()
		for i := range steps {
			if steps[i].title == "A capsule runs real programs" {
				steps[i].run = s.stepWatch
			}
		}
		return steps
	})
	return out, err
}

// stepWatch starts the watcher alone.
func (s *site) stepWatch(ctx context.Context) error {
	_, err := s.run(ctx, nil, invokeArgs("alice", "watch", `{"tool_name":"watch","arguments":{"do":"start"}}`)...)
	return err
}

// nothingLeft holds that the demo cleaned up after itself.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	if pids := processesIn(dir); len(pids) > 0 {
		t.Errorf("processes %v still run from %s", pids, dir)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", dir, err)
	}
}

func TestDemo(t *testing.T) {
	out, err := runDemo(t, "")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "demo: ok: ") || !strings.HasSuffix(last, " processes, 0 lost") {
		t.Errorf("the last line is %q", last)
	}
	nothingLeft(t, out.site(t))
}

// TestDemoInterrupted holds that nothing stays behind, wherever the demo is
// interrupted: while it builds, at the worst moment, when it has killed the
// daemon and the programs are nobody's, and while a daemon recovers.
func TestDemoInterrupted(t *testing.T) {
	for _, at := range []string{"1. Build", "$ kill -KILL", "7. Start it again"} {
		t.Run(strings.Fields(at)[1], func(t *testing.T) {
			out, err := runDemo(t, at)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the demo ended with %v\n%s", err, out)
			}
			nothingLeft(t, out.site(t))
		})
	}
}
