package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// MaxRunModule is the most bytes of a module that /v1/run takes.
const MaxRunModule = 64 << 20

// MaxRunHead is the most bytes of the first line of such a request.
const MaxRunHead = 1 << 20

// RunRequest is the first line of the body of /v1/run. The module's bytes follow,
// as many as it says, and what is left of the body is the standard input, which
// is read as it arrives.
type RunRequest struct {
	Principal   string   `json:"principal"` // on whose behalf
	Name        string   `json:"name"`      // of the module, for the record; also its first argument
	Args        []string `json:"args,omitempty"`
	CallID      string   `json:"call_id,omitempty"` // empty: the daemon makes one
	ModuleBytes int64    `json:"module_bytes"`

	// HostProcess are the commands of this machine that it may run, and
	// AllowPersistent whether such a process may outlive it.
	HostProcess     []string `json:"host_process,omitempty"`
	AllowPersistent bool     `json:"allow_persistent,omitempty"`
}

// RunLine is a line of the answer of /v1/run: a piece of output, or the end of
// the program, which is the last.
type RunLine struct {
	Stream string `json:"stream,omitempty"`
	Data   []byte `json:"data,omitempty"` // base64

	// ExitCode is the status with which the program left. It is sent only after
	// the event that records it is durable.
	ExitCode *uint32 `json:"exit_code,omitempty"`
}

// Run runs a WASI command module and returns what it writes as it does so. The
// lines are the caller's to close; closing them early cancels the program. stdin
// may go on after the program has left; then one more read of it is waited for by
// nobody.
func (c *Client) Run(ctx context.Context, r *RunRequest, module []byte, stdin io.Reader) (*Lines[RunLine], error) {
	head := *r
	head.ModuleBytes = int64(len(module))
	b, err := json.Marshal(&head)
	if err != nil {
		return nil, Errorf(CodeUsage, "request to run: %v", err)
	}
	req, err := c.request(ctx, http.MethodPost, "/v1/run", nil, nil)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(io.MultiReader(bytes.NewReader(append(b, '\n')), bytes.NewReader(module), interruptible(ctx, stdin)))
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Accept", TypeNDJSON)
	resp, err := c.acts.Do(req)
	if err != nil {
		return nil, sendError(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return newLines[RunLine](resp.Body), nil
	}
	defer resp.Body.Close()
	return nil, errorOf(resp)
}

// interruptible is r until ctx ends: net/http waits for a read of a body that it
// has given up, and one of a terminal may never return.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	out, in := io.Pipe()
	stop := context.AfterFunc(ctx, func() { in.CloseWithError(ctx.Err()) })
	go func() {
		defer stop()
		_, err := io.Copy(in, r)
		in.CloseWithError(err) // nil is the end
	}()
	return out
}

// FinishRun reads the lines to their end: it hands out the output and returns the exit
// code.
func FinishRun(l *Lines[RunLine], stdout, stderr io.Writer) (code uint32, err error) {
	for line, err := range l.All() {
		if err != nil {
			return 0, err
		}
		if line.ExitCode != nil {
			return *line.ExitCode, nil
		}
		w := stdout
		if line.Stream == Stderr {
			w = stderr
		}
		if _, err := w.Write(line.Data); err != nil {
			return 0, fmt.Errorf("%s of the program: %w", line.Stream, err)
		}
	}
	return 0, ErrCutOff // the end without an exit code
}
