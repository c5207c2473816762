package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/astrid-os/processledger/internal/control"
)

// The capsules of examples/ that the demo builds.
const (
	capsuleName = "workbench" // checks a project, and runs what it is told to
	serversName = "devserver" // keeps servers running as persistent processes
)

// program is a shell program that writes its own witness: a file in its
// workspace that is named by a nonce, with a line at its start and one at its
// end.
type program struct {
	principal string
	capsule   string
	nonce     string
	script    string
	code      int32 // how it ends: by this exit code, or
	signal    int32 // by this signal, if it is not 0
}

// newProgram makes a program that takes that many seconds and ends as the last
// words of the script say.
func newProgram(principal string, seconds int, ending string, code, signal int32) *program {
	return &program{
		principal: principal, capsule: capsuleName, nonce: "witness-" + strings.ToLower(rand.Text()[:10]), code: code, signal: signal,
		script: fmt.Sprintf(`echo start >>"$1"; sleep %d; echo end >>"$1"; %s`, seconds, ending),
	}
}

// payload is the tool call that runs it.
func (p *program) payload() string { return toolCall("run", "sh", "-c", p.script, "sh", p.nonce) }

// toolCall is the payload that has the capsule run a command.
func toolCall(tool, cmd string, args ...string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // it is shown to people
	call := struct {
		Tool      string `json:"tool_name"`
		Arguments any    `json:"arguments"`
	}{tool, struct {
		Cmd  string   `json:"cmd"`
		Args []string `json:"args"`
	}{cmd, args}}
	if err := enc.Encode(call); err != nil {
		panic(err) // strings alone
	}
	return strings.TrimSpace(b.String())
}

// path is where its witness is.
func (s *site) path(p *program) string {
	return filepath.Join(s.data, "workspaces", p.principal, p.capsule, p.nonce)
}

// saw tells what the witness saw: whether the program started, and whether it
// came to its end.
func (s *site) saw(p *program) (started, ended bool) {
	b, err := os.ReadFile(s.path(p))
	if err != nil {
		return false, false
	}
	lines := strings.Fields(string(b))
	return len(lines) > 0 && lines[0] == "start", len(lines) > 1 && lines[1] == "end"
}

// waitStarted and waitEnded wait for the witness of every program.
func (s *site) waitStarted(ctx context.Context, ps ...*program) error {
	return waitFor(ctx, "the programs start", time.Minute, func() (bool, error) {
		for _, p := range ps {
			if started, _ := s.saw(p); !started {
				return false, nil
			}
		}
		return true, nil
	})
}

func (s *site) waitEnded(ctx context.Context, ps ...*program) error {
	return waitFor(ctx, "the programs end", time.Minute, func() (bool, error) {
		for _, p := range ps {
			if _, ended := s.saw(p); !ended {
				return false, nil
			}
		}
		return true, nil
	})
}

// invokeArgs are astridctl's arguments for a call of the capsule.
func invokeArgs(principal, tool, payload string) []string {
	return callArgs(principal, capsuleName, tool, payload)
}

// callArgs are those for a call of any capsule.
func callArgs(principal, capsule, tool, payload string) []string {
	return []string{"invoke", "--principal", principal, "--capsule", capsule, "--action", "tool_execute_" + tool, "--payload", payload}
}

// handles returns the ids of the table, by age.
func handles(ps *control.Ps) []string {
	ids := make([]string, len(ps.Handles))
	for i, h := range ps.Handles {
		ids[i] = h.ID
	}
	return ids
}
