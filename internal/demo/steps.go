package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger/event"
)

func (s *site) stepBuild(ctx context.Context) error {
	err := s.say.working("building astridd and astrid-shim", func() error {
		return build(ctx, s.root, s.bin+string(filepath.Separator), nil, "./cmd/astridd", "./host/shim/astrid-shim")
	})
	if err != nil {
		return err
	}
	return s.say.working("building the capsules", func() error {
		return errors.Join(s.buildCapsule(ctx, capsuleName), s.buildCapsule(ctx, serversName))
	})
}

// buildCapsule builds a capsule of examples/ to where the daemon looks for it.
func (s *site) buildCapsule(ctx context.Context, name string) error {
	dir := filepath.Join(s.capsules, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	err := build(ctx, s.root, filepath.Join(dir, name+".wasm"), []string{"GOOS=wasip1", "GOARCH=wasm"}, "-buildmode=c-shared", "./examples/"+name)
	if err != nil {
		return err
	}
	manifest, err := os.ReadFile(filepath.Join(s.root, "examples", name, "Capsule.toml"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "Capsule.toml"), manifest, 0o644)
}

func (s *site) stepStart(ctx context.Context) error {
	if err := s.configure(); err != nil {
		return err
	}
	st, err := s.startShown(ctx)
	if err != nil {
		return err
	}
	if !st.Isolation.Available {
		s.say.then("This machine allows no namespaces (%s). So the demo writes isolation = \"none\" into the configuration and goes on in the weaker mode: the trees of programs are ended by walking them, and every table and event says so.", st.Isolation.Reason)
		s.isolation = "none"
		if err := errors.Join(s.stop(10*time.Second), s.configure()); err != nil {
			return err
		}
		if _, err := s.startShown(ctx); err != nil {
			return err
		}
	}
	_, err = s.run(ctx, nil, "status")
	return err
}

// startShown starts the daemon with progress.
func (s *site) startShown(ctx context.Context) (st *control.Status, err error) {
	err = s.say.working("starting astridd", func() error {
		st, err = s.start(ctx)
		return err
	})
	return st, err
}

func (s *site) stepCheck(ctx context.Context) error {
	args := invokeArgs("alice", "check", `{"tool_name":"check","arguments":{}}`)
	s.say.command(append([]string{"astridctl"}, args...)...)
	var answer checkAnswer
	err := s.say.working("git, go build and go test run for alice", func() error {
		out, code, err := s.astridctl(ctx, append(args, "--json")...)
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("the call failed:\n%s", out)
		}
		return answer.read(out)
	})
	if err != nil {
		return err
	}
	answer.show(s.say)
	_, err = s.run(ctx, nil, "ps")
	return err
}

func (s *site) stepRefuse(ctx context.Context) error {
	p := newProgram("bob", 0, "exit 0", 0, 0)
	s.programs = append(s.programs, p)
	if _, err := s.run(ctx, nil, invokeArgs("bob", "run", p.payload())...); err != nil {
		return err
	}
	if _, err := s.run(ctx, nil, invokeArgs("bob", "run", toolCall("run", "touch", "was-here"))...); err != nil {
		return err
	}
	if _, err := s.run(ctx, nil, invokeArgs("bob", "watch", `{"tool_name":"watch","arguments":{"do":"start"}}`)...); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.data, "workspaces", "bob", capsuleName, "was-here")); err == nil {
		return errors.New("a refused program ran all the same")
	}
	refused, err := s.refusals(ctx)
	if err != nil {
		return err
	}
	if len(refused) != 2 {
		return fmt.Errorf("%d refusals are recorded, want 2", len(refused))
	}
	if _, err := s.run(ctx, nil, "log", "--outcome", "refused", "-o", "sentence"); err != nil {
		return err
	}
	_, err = s.run(ctx, nil, "why", refused[1].Handle.String())
	return err
}

// refusals are the recorded ones, oldest first.
func (s *site) refusals(ctx context.Context) ([]*event.Event, error) {
	return s.events(ctx, query.Filter{Outcomes: []string{"refused"}})
}

// events are those that match the filter.
func (s *site) events(ctx context.Context, f query.Filter) ([]*event.Event, error) {
	stream, err := s.client.Events(ctx, &control.EventsQuery{Filter: f})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var found []*event.Event
	for e, err := range stream.All() {
		if err != nil {
			return nil, err
		}
		found = append(found, e)
	}
	return found, nil
}

func (s *site) stepRun(ctx context.Context) error {
	s.alice = newProgram("alice", 4, "exit 7", 7, 0)
	s.bob = newProgram("bob", 4, "kill -KILL $$", 0, 9)
	s.programs = append(s.programs, s.alice, s.bob)
	for _, p := range []*program{s.alice, s.bob} {
		args := invokeArgs(p.principal, "run", p.payload())
		s.say.command(append([]string{"astridctl"}, append(args, "&")...)...)
		s.background(ctx, args)
	}
	if err := s.startServer(ctx); err != nil {
		return err
	}
	if err := s.waitStarted(ctx, s.alice, s.bob, s.server.program); err != nil {
		return err
	}
	// A sync spawn's start is recorded 100 ms after it, so that most need not
	// be recorded by themselves.
	err := waitFor(ctx, "the starts are recorded", 30*time.Second, func() (bool, error) {
		var err error
		s.before, err = s.client.Ps(ctx, false)
		return err == nil && len(s.before.Handles) == 4 && !slices.ContainsFunc(s.before.Handles, func(h control.Handle) bool { return h.Phase != "started" }), err
	})
	if err != nil {
		return err
	}
	if _, err = s.run(ctx, nil, "ps"); err != nil {
		return err
	}
	return s.server.found(s.before)
}

func (s *site) stepKill(ctx context.Context) error {
	if err := s.server.count(ctx, s); err != nil {
		return err
	}
	s.say.command("kill", "-KILL", strconv.Itoa(s.daemon.cmd.Process.Pid))
	if err := s.kill(); err != nil {
		return err
	}
	s.wait()
	if _, err := s.run(ctx, []int{4}, "status"); err != nil {
		return err
	}
	if err := s.say.working("waiting for the programs to end by themselves", func() error { return s.waitEnded(ctx, s.alice, s.bob) }); err != nil {
		return err
	}
	s.say.then("Both programs have written their last line, %s and %s: alice's ends with the exit code 7, bob's by a SIGKILL that it sends to itself. No daemon saw it, and the ledger's last word is that they run.", s.alice.nonce, s.bob.nonce)
	_, err := s.run(ctx, nil, "ps")
	return err
}

func (s *site) stepRestart(ctx context.Context) error {
	s.server.alone(s)
	if _, err := s.startShown(ctx); err != nil {
		return err
	}
	began, err := s.recovery(ctx)
	if err != nil {
		return err
	}
	s.say.say("The handle table and the counters as the new daemon rebuilt them from the ledger, before it looked at the machine:")
	if _, err := s.run(ctx, nil, "replay", "--at", strconv.FormatUint(began, 10)); err != nil {
		return err
	}
	s.say.then("What it found there, and did:")
	if _, err := s.run(ctx, nil, "log", "--after-cursor", strconv.FormatUint(s.before.Seq, 10), "-o", "sentence"); err != nil {
		return err
	}
	err = s.say.working("waiting until nothing of the old daemon's is left", func() error {
		return waitFor(ctx, "what nobody owns ends", 30*time.Second, func() (bool, error) {
			ps, err := s.client.Ps(ctx, false)
			return err == nil && len(ps.Handles) == 1, err // the server
		})
	})
	if err != nil {
		return err
	}
	s.say.then("The true exits of what ended meanwhile, 7 for alice's program and SIGKILL for bob's, and the counters now that the server alone is left:")
	for _, args := range [][]string{{"log", "--kind", "process.exited", "--after-cursor", strconv.FormatUint(s.before.Seq, 10)}, {"ps", "-a"}, {"status"}} {
		if _, err := s.run(ctx, nil, args...); err != nil {
			return err
		}
	}
	return nil
}

// recovery checks what the newest recovery found and returns the seq of its
// beginning.
func (s *site) recovery(ctx context.Context) (began uint64, err error) {
	events, err := s.events(ctx, query.Filter{FromSeq: s.before.Seq + 1, Kinds: []event.Kind{event.KindRecoveryStarted, event.KindRecoveryFinished}})
	if err != nil {
		return 0, err
	}
	for _, e := range events {
		switch b := e.Body.(type) {
		case *event.RecoveryStarted:
			began = e.Seq
			if b.Handles != 4 {
				return 0, fmt.Errorf("recovery began with %d processes in the ledger, want 4", b.Handles)
			}
		case *event.RecoveryFinished:
			if b.Exited != 2 || b.Ended != 1 || b.Adopted != 1 || b.Lost != 0 {
				return 0, fmt.Errorf("recovery found %d exited, %d without an owner, %d to be taken in and %d lost, want 2, 1, 1 and 0", b.Exited, b.Ended, b.Adopted, b.Lost)
			}
		}
	}
	if began == 0 {
		return 0, errors.New("no recovery is recorded")
	}
	return began, nil
}

func (s *site) stepStory(ctx context.Context) error {
	for _, h := range s.before.Handles {
		if h.Principal == "alice" && h.Tier == "sync" {
			_, err := s.run(ctx, nil, "show", h.ID)
			return err
		}
	}
	return errors.New("alice's program was not in the table before the crash")
}

func (s *site) stepReplay(ctx context.Context) error {
	at := strconv.FormatUint(s.before.Seq, 10)
	if _, err := s.run(ctx, nil, "replay", "--at", at); err != nil {
		return err
	}
	out, code, err := s.astridctl(ctx, "replay", "--at", at, "--json")
	if err != nil || code != 0 {
		return errors.Join(err, fmt.Errorf("replay ended with %d", code))
	}
	var then struct {
		Handles []control.Handle `json:"handles"`
	}
	if err := json.Unmarshal(out, &then); err != nil {
		return err
	}
	live := slices.DeleteFunc(then.Handles, func(h control.Handle) bool { return h.Phase != "started" && h.Phase != "decided" })
	if was, is := handles(s.before), handles(&control.Ps{Handles: live}); !slices.Equal(was, is) {
		return fmt.Errorf("the table was %v before the crash, and its replay is %v", was, is)
	}
	return nil
}

func (s *site) stepGoOn(ctx context.Context) error {
	for _, principal := range []string{"alice", "bob"} {
		p := newProgram(principal, 0, "exit 0", 0, 0)
		s.programs = append(s.programs, p)
		if _, err := s.run(ctx, nil, invokeArgs(principal, "run", p.payload())...); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) stepVerify(ctx context.Context) error {
	_, err := s.run(ctx, nil, "verify")
	return err
}
