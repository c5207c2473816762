package serve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/internal/control"
)

var hello = &control.RunRequest{Principal: "alice", Name: "hello.wasm", Args: []string{"-x", "a b"}, CallID: "c1"}

// module is larger than what the server reads at a time.
var module = bytes.Repeat([]byte("wasm"), 100_000)

// outputs collects a run.
type outputs struct{ stdout, stderr strings.Builder }

func (h *house) runs(t *testing.T, stdin io.Reader) (code uint32, out outputs, err error) {
	t.Helper()
	lines, err := h.client.Run(t.Context(), hello, module, stdin)
	if err != nil {
		return 0, out, err
	}
	defer lines.Close()
	code, err = control.FinishRun(lines, &out.stdout, &out.stderr)
	return code, out, err
}

// TestRunTalks: the program's answer to a line arrives before the next line is
// sent, and everything else as it was given.
func TestRunTalks(t *testing.T) {
	h := start(t)
	h.run = func(_ context.Context, r *control.RunRequest, got []byte, stdin io.Reader, stdout, stderr io.Writer) (uint32, error) {
		if r.Principal != hello.Principal || r.Name != hello.Name || !slices.Equal(r.Args, hello.Args) || r.CallID != "c1" || !bytes.Equal(got, module) {
			t.Errorf("got %+v and %d bytes", r, len(got))
		}
		lines := bufio.NewScanner(stdin)
		for lines.Scan() {
			fmt.Fprintf(stdout, "heard %s\n", lines.Text())
		}
		stderr.Write([]byte("bye\xff"))
		return 3, lines.Err()
	}
	in, stdin := io.Pipe()
	go fmt.Fprint(stdin, "line 0\n") // the answer begins with the first output
	lines, err := h.client.Run(t.Context(), hello, module, in)
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	var got []string
	for n := range 3 {
		if n > 0 {
			fmt.Fprintf(stdin, "line %d\n", n)
		}
		for line, err := range lines.All() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(line.Data))
			break
		}
	}
	stdin.Close()
	var out outputs
	code, err := control.FinishRun(lines, &out.stdout, &out.stderr)
	if err != nil || code != 3 || out.stderr.String() != "bye\xff" || strings.Join(got, "") != "heard line 0\nheard line 1\nheard line 2\n" {
		t.Errorf("code %d, %v, stderr %q, stdout %q", code, err, &out.stderr, got)
	}
}

// TestRunLeavesInputUnread: a program that ends before its input does ends the
// run, whoever still holds the other end.
func TestRunLeavesInputUnread(t *testing.T) {
	h := start(t)
	h.run = func(_ context.Context, _ *control.RunRequest, _ []byte, stdin io.Reader, stdout, _ io.Writer) (uint32, error) {
		var b [1]byte
		_, err := io.ReadFull(stdin, b[:])
		stdout.Write(b[:])
		return 0, err
	}
	in, stdin := io.Pipe()
	defer stdin.Close()
	go func() { _, _ = stdin.Write([]byte("x")) }() // and then nothing, for ever
	code, out, err := h.runs(t, in)
	if err != nil || code != 0 || out.stdout.String() != "x" {
		t.Errorf("code %d, %v, %q", code, err, &out.stdout)
	}
	code, _, err = h.runs(t, endless{'x'})
	if err != nil || code != 0 {
		t.Errorf("with more than is read: code %d, %v", code, err)
	}
}

// endless is a reader that never ends.
type endless struct{ c byte }

func (e endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = e.c
	}
	return len(b), nil
}

// TestRunEndsWithItsClient: whoever leaves has the program cancelled, whether it
// reads its input or not, and whether that has ended.
func TestRunEndsWithItsClient(t *testing.T) {
	for name, stdin := range map[string]io.Reader{"ended": strings.NewReader(""), "unread": strings.NewReader("some"), "open": blocked{}} {
		t.Run(name, func(t *testing.T) {
			h := start(t)
			began, ended := make(chan struct{}), make(chan struct{})
			h.run = func(ctx context.Context, _ *control.RunRequest, _ []byte, _ io.Reader, _, _ io.Writer) (uint32, error) {
				close(began)
				<-ctx.Done()
				close(ended)
				return 0, ctx.Err()
			}
			ctx, leave := context.WithCancel(t.Context())
			go func() { <-began; leave() }()
			if _, err := h.client.Run(ctx, hello, module, stdin); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				t.Fatal("the program was not cancelled")
			}
		})
	}
}

// blocked is a terminal at which nobody types.
type blocked struct{}

func (blocked) Read([]byte) (int, error) { select {} }

// TestRunWithoutReader: a program that writes to a client that has stopped
// reading is let go of when it is cut.
func TestRunWithoutReader(t *testing.T) {
	h := start(t)
	ended := make(chan error, 1)
	h.run = func(_ context.Context, _ *control.RunRequest, _ []byte, _ io.Reader, stdout, _ io.Writer) (uint32, error) {
		wrote := make(chan struct{}, 1)
		go func() {
			for stuck := false; !stuck; {
				select {
				case <-wrote:
				case <-time.After(500 * time.Millisecond): // or slow, which is cut as well
					stuck = true
				}
			}
			stdout.(capsule.Cutter).Cut()
		}()
		for big := make([]byte, runChunk); ; {
			if _, err := stdout.Write(big); err != nil {
				ended <- err
				return 0, err
			}
			select {
			case wrote <- struct{}{}:
			default:
			}
		}
	}
	lines, err := h.client.Run(t.Context(), hello, module, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the write was not cut")
	}
}

// TestRunFails: before the first output it is a status, behind it the last line.
func TestRunFails(t *testing.T) {
	h := start(t)
	trap := control.Errorf(control.CodeTrap, "unreachable")
	h.run = func(context.Context, *control.RunRequest, []byte, io.Reader, io.Writer, io.Writer) (uint32, error) {
		return 0, trap
	}
	if _, _, err := h.runs(t, strings.NewReader("")); codeOfError(err) != control.CodeTrap {
		t.Errorf("at once: %v", err)
	}
	h.run = func(_ context.Context, _ *control.RunRequest, _ []byte, _ io.Reader, stdout, _ io.Writer) (uint32, error) {
		stdout.Write([]byte("so far"))
		return 0, trap
	}
	_, out, err := h.runs(t, strings.NewReader(""))
	if codeOfError(err) != control.CodeTrap || out.stdout.String() != "so far" {
		t.Errorf("in the end: %v, %q", err, &out.stdout)
	}
}

func TestRunRefusals(t *testing.T) {
	h := start(t)
	for name, r := range map[string]control.RunRequest{
		"principal": {Principal: "not a name", Name: "x"}, "name": {Principal: "alice"},
		"argument":  {Principal: "alice", Name: "x", Args: []string{"\x00"}},
		"arguments": {Principal: "alice", Name: "x", Args: make([]string, maxRunArgCount+1)},
		"long":      {Principal: "alice", Name: "x", Args: []string{strings.Repeat("x", maxRunArgs+1)}},
		"call id":   {Principal: "alice", Name: "x", CallID: strings.Repeat("x", maxName+1)},
		"line":      {Principal: "alice", Name: "x", Args: []string{strings.Repeat("x", control.MaxRunHead)}},
	} {
		if _, err := h.client.Run(t.Context(), &r, module, strings.NewReader("")); codeOfError(err) != control.CodeUsage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := h.client.Run(t.Context(), hello, nil, strings.NewReader("")); codeOfError(err) != control.CodeUsage {
		t.Errorf("no module: %v", err)
	}
}
