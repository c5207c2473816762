package serve

import (
	"context"
	"net/http"
	"slices"

	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	if err := params(r); err != nil {
		fail(w, err)
		return
	}
	answer(w, s.o.Backend.Status())
}

// ps sends the handle table of the committed state.
func (s *Server) ps(w http.ResponseWriter, r *http.Request) {
	if err := params(r, "all"); err != nil {
		fail(w, err)
		return
	}
	value := r.URL.Query().Get("all")
	all := value == "1" || value == "true"
	ps, err := s.o.Backend.Ps(r.Context(), all)
	if err != nil {
		fail(w, err)
		return
	}
	if ps != nil {
		answer(w, ps)
		return
	}
	live, err := s.live()
	if err != nil {
		fail(w, err)
		return
	}
	live.View(func(st *projector.State) { ps = control.TableOf(st, all) })
	unrecorded, idle, trouble := s.o.Backend.Unrecorded(), s.o.Backend.Idle(), s.o.Backend.Trouble()
	for i := range ps.Handles {
		ps.Handles[i].Trouble = trouble[ps.Handles[i].ID]
		ps.Handles[i].Unrecorded = slices.Contains(unrecorded, ps.Handles[i].ID)
		if unused, known := idle[ps.Handles[i].ID]; known {
			ps.Handles[i].IdleNano = new(unused.Nanoseconds())
		}
	}
	answer(w, ps)
}

func (s *Server) capsules(w http.ResponseWriter, r *http.Request) {
	if err := params(r); err != nil {
		fail(w, err)
		return
	}
	answer(w, s.o.Backend.Capsules())
}

// post serves a request to do something: reads it, checks it, does it for whoever
// asks, and answers.
func post[Request, Answer any](check func(*Request) error, do func(context.Context, event.Actor, *Request) (*Answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req := new(Request)
		err := read(r, req)
		if err == nil {
			err = check(req)
		}
		if err != nil {
			fail(w, err)
			return
		}
		a, err := do(r.Context(), operator(r), req)
		if err != nil {
			fail(w, err)
			return
		}
		answer(w, a)
	}
}

// Bounds of what goes into the ledger, in bytes.
const (
	maxName    = 256 // of capsule, action and call id
	maxReason  = 1024
	maxCallIDs = 64 // how many a cancel may name
)

func checkInvocation(in *control.Invocation) error {
	switch {
	case !policy.ValidPrincipal(in.Principal):
		return control.Errorf(control.CodeUsage, "principal %.80q is not an id", in.Principal).
			WithHint("use 1 to 64 of A-Z, a-z, 0-9, _ and -")
	case in.Capsule == "" || len(in.Capsule) > maxName:
		return control.Errorf(control.CodeUsage, "capsule %.80q is not a name", in.Capsule)
	case in.Action == "" || len(in.Action) > maxName:
		return control.Errorf(control.CodeUsage, "action %.80q is not a name", in.Action).
			WithHint("name the handler that the capsule's manifest subscribes, for example tool_execute_build")
	case len(in.CallID) > maxName:
		return control.Errorf(control.CodeUsage, "the call id has %d bytes; at most %d are allowed", len(in.CallID), maxName)
	}
	return nil
}

func checkCancel(c *control.CancelRequest) error {
	switch {
	case !policy.ValidPrincipal(c.Principal):
		return control.Errorf(control.CodeUsage, "principal %.80q is not an id", c.Principal).
			WithHint("a cancel names its principal: 1 to 64 of A-Z, a-z, 0-9, _ and -")
	case len(c.Capsule) > maxName:
		return control.Errorf(control.CodeUsage, "capsule %.80q is not a name", c.Capsule)
	case len(c.CallIDs) > maxCallIDs || slices.ContainsFunc(c.CallIDs, func(id string) bool { return id == "" || len(id) > maxName }):
		return control.Errorf(control.CodeUsage, "at most %d call ids of 1 to %d bytes are allowed", maxCallIDs, maxName)
	case len(c.Reason) > maxReason:
		return control.Errorf(control.CodeUsage, "the reason has %d bytes; at most %d are allowed", len(c.Reason), maxReason)
	}
	return nil
}
