package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// ErrOutside is returned by the functions of this SDK that need a host where
// there is none, that is by everything that is not built as a capsule. It is
// the same value in every package.
var ErrOutside = mem.ErrOutside

// The actions that an answer may have. The host takes any other for Continue,
// and Deny and Abort for the same.
const (
	Continue = "continue" // the next handler gets the data, or what this one got
	Final    = "final"    // no other handler runs; the data is the outcome
	Deny     = "deny"     // no other handler runs; the event is refused
	Abort    = "abort"
)

// Answer is what a handler returns to the host.
type Answer struct {
	Action string
	Data   []byte // UTF-8; nil is none
}

// Interceptor answers one action of the host.
type Interceptor func(payload []byte) Answer

// Handler answers one action. What it returns is the data of an answer to
// continue; an error aborts, with its text as {"error": "…"}.
type Handler func(payload []byte) ([]byte, error)

var interceptors = map[string]Interceptor{}

// Intercept registers what answers an action; the manifest's [subscribe] names
// it too. It panics if there is something already.
func Intercept(action string, f Interceptor) {
	if interceptors[action] != nil {
		panic("guest: two handlers for " + action)
	}
	interceptors[action] = f
}

// Handle is Intercept for what either succeeds or fails.
func Handle(action string, h Handler) {
	Intercept(action, func(payload []byte) Answer {
		data, err := h(payload)
		if err != nil {
			return abort(err)
		}
		return Answer{Action: Continue, Data: data}
	})
}

func abort(err error) Answer {
	data, _ := json.Marshal(map[string]string{"error": err.Error()})
	return Answer{Action: Abort, Data: data}
}

// Dispatch answers an action as the host's call of it does. It is for tests of
// handlers.
func Dispatch(action string, payload []byte) Answer {
	f := interceptors[action]
	if f == nil {
		return abort(errors.New("unknown hook action: " + action))
	}
	a := f(payload)
	if !utf8.Valid(a.Data) || !utf8.ValidString(a.Action) {
		return abort(fmt.Errorf("the answer to %s is not UTF-8", action))
	}
	return a
}
