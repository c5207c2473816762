package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/astrid-os/processledger/internal/control"
)

// server is the persistent program of the demo: it counts on its standard output,
// ten lines a second, until it is stopped.
type server struct {
	*program
	id string // its handle

	before int // how far it had come when the daemon was killed
	after  int // how far when the next one began
}

// startServer has alice start it.
func (s *site) startServer(ctx context.Context) error {
	s.server = &server{program: &program{
		principal: "alice", capsule: serversName, nonce: "witness-" + strings.ToLower(rand.Text()[:10]), signal: 15,
		script: `echo start >>"$1"; i=0; while :; do i=$((i+1)); echo "line $i"; echo $i >"$1.count"; sleep 0.1; done`,
	}}
	s.programs = append(s.programs, s.server.program)
	args, err := json.Marshal([]string{"-c", s.server.script, "sh", s.server.nonce})
	if err != nil {
		return err
	}
	// Shown to people as they would write it.
	payload := `{"tool_name":"dev_start","arguments":{"name":"web","cmd":"sh","args":` + strings.ReplaceAll(string(args), `\u003e`, ">") + `}}`
	_, err = s.run(ctx, nil, callArgs("alice", serversName, "dev_start", payload)...)
	return err
}

// found notes its handle.
func (p *server) found(ps *control.Ps) error {
	i := slices.IndexFunc(ps.Handles, func(h control.Handle) bool { return h.Tier == "persistent" })
	if i < 0 {
		return errors.New("the server is not in the table")
	}
	p.id = ps.Handles[i].ID
	return nil
}

// count notes how far it has come, by what the daemon has of its output.
func (p *server) count(ctx context.Context, s *site) (err error) {
	p.before, err = s.lines(ctx)
	return err
}

// alone notes how far it has come by its own count, which no daemon saw.
func (p *server) alone(s *site) {
	if b, err := os.ReadFile(s.path(p.program) + ".count"); err == nil {
		p.after, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	}
}

// lines reads all that it wrote and holds that no line is missing, twice, or out of
// its order. It returns how many there are.
func (s *site) lines(ctx context.Context) (int, error) {
	chunks, err := s.client.Logs(ctx, &control.LogsQuery{ID: s.server.id, Stream: control.Stdout})
	if err != nil {
		return 0, err
	}
	defer chunks.Close()
	var all bytes.Buffer
	for c, err := range chunks.All() {
		if err != nil {
			return 0, err
		}
		all.Write(c.Data)
	}
	whole := all.Bytes()[:bytes.LastIndexByte(all.Bytes(), '\n')+1]
	n := 0
	for line := range strings.Lines(string(whole)) {
		n++
		if line != fmt.Sprintf("line %d\n", n) {
			return 0, fmt.Errorf("line %d of the server's output is %q", n, line)
		}
	}
	return n, nil
}

func (s *site) stepServer(ctx context.Context) error {
	now, err := s.lines(ctx)
	if err != nil {
		return err
	}
	if s.server.after <= s.server.before || now < s.server.after {
		return fmt.Errorf("the server had come to line %d before the kill, to %d without a daemon, and its output has %d", s.server.before, s.server.after, now)
	}
	s.say.then("Its output has the lines 1 to %d, each once and in order. It had come to line %d when the daemon was killed, and to line %d when the new one began.", now, s.server.before, s.server.after)
	_, err = s.run(ctx, nil, "show", s.server.id)
	return err
}

func (s *site) stepUpgrade(ctx context.Context) error {
	if _, err := s.run(ctx, nil, "daemon", "restart"); err != nil {
		return err
	}
	st, err := s.ready(ctx)
	if err != nil {
		return err
	}
	if st.Restart == nil || st.Recovery == nil || st.Recovery.Adopted != 1 {
		return fmt.Errorf("the daemon has not taken over with the server: %+v", st)
	}
	now, err := s.lines(ctx)
	if err != nil {
		return err
	}
	s.say.then("Its pid is the same, and nobody who asked was refused. The server has come to line %d, and no line is missing. alice stops it now; its name is free again.", now)
	if _, err := s.run(ctx, nil, "log", "--kind", "daemon.stopped", "--kind", "daemon.started", "-n", "2", "-o", "sentence"); err != nil {
		return err
	}
	_, err = s.run(ctx, nil, callArgs("alice", serversName, "dev_stop", `{"tool_name":"dev_stop","arguments":{"name":"web"}}`)...)
	return err
}
