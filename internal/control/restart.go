package control

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// RestartRequest is the body of /v1/daemon/restart.
type RestartRequest struct {
	// Binary is the absolute path of the program that is to go on; empty: that of
	// the daemon itself, as it lies there now.
	Binary string `json:"binary,omitempty"`
}

// RestartAnswer is what /v1/daemon/restart answers, once the new program has
// been tried and found fit, and the restart has begun. Nothing was ended by then.
type RestartAnswer struct {
	From    string    `json:"from"`    // version of the daemon that makes way
	To      string    `json:"to"`      // version of the one that goes on
	Binary  string    `json:"binary"`  // path of its program
	Started time.Time `json:"started"` // when the daemon that makes way was started: the next one's is later
}

// Restart is what the status tells of the restart in which a daemon took over.
type Restart struct {
	From      string    `json:"from"`      // version of the daemon that made way
	Binary    string    `json:"binary"`    // path of the program that was to go on
	Requested time.Time `json:"requested"` // when it was asked for
	UID       uint32    `json:"uid"`       // of who asked

	DrainNano int64 `json:"drain_ns"` // how long calls were given to end, ns
	GapNano   int64 `json:"gap_ns"`   // how long no daemon was in charge, ns, as in daemon.started

	// Problem is why the daemon is not of the program that was asked for; empty:
	// it is.
	Problem string `json:"problem,omitempty"`
}

// Restart has the daemon make way for another one. It returns once that has
// begun; see [Client.WaitRestarted] for its end.
func (c *Client) Restart(ctx context.Context, r *RestartRequest) (*RestartAnswer, error) {
	return call[RestartAnswer](ctx, c, http.MethodPost, "/v1/daemon/restart", nil, r)
}

// restartPause is the pause between two looks at a daemon that is on its way.
const restartPause = 20 * time.Millisecond

// WaitRestarted waits until the daemon that takes over is ready, and returns its
// status. It fails when nobody listens any more, or when ctx ends.
func (c *Client) WaitRestarted(ctx context.Context, a *RestartAnswer) (*Status, error) {
	for {
		s, err := c.Status(ctx)
		var gone *UnreachableError
		switch {
		case err == nil && s.Phase == PhaseReady && s.Started.After(a.Started):
			return s, nil
		case errors.As(err, &gone):
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(restartPause):
		}
	}
}

// restartPatience bounds how long a request is repeated while the daemon is
// restarted: the longest that its calls may take to end by default, the end of
// its processes, and a start that compiles capsules.
const restartPatience = 2 * time.Minute

// patiently repeats a request while a daemon that makes way turns it away: it
// has done nothing about it, and the next one will.
func patiently(ctx context.Context, send func() (*http.Response, error)) (*http.Response, error) {
	for began := time.Now(); ; {
		resp, err := send()
		if !IsRestarting(err) || time.Since(began) > restartPatience {
			return resp, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(restartPause):
		}
	}
}

// IsRestarting tells whether err is how a daemon that makes way for another one
// turns a request away or ends a stream: nothing is wrong, and the request can be
// repeated.
func IsRestarting(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == CodeRestarting
}
