package control

import (
	"context"
	"net/http"
)

// StopRequest is the body of /v1/stop.
type StopRequest struct {
	ID string `json:"id"` // the handle's ULID, whole

	// GraceNano is the time from TERM to KILL, ns; nil: 5 s. At most 30 s.
	GraceNano *int64 `json:"grace_ns,omitempty"`
}

// StopAnswer is what /v1/stop answers, once the process's end is durable.
type StopAnswer struct {
	ID string `json:"id"`

	// Exit is how the program ended, nil if it is proven dead and that is
	// unknown. Cause is what ended it: "stop", or whatever came first.
	Exit  *Exit  `json:"exit,omitempty"`
	Cause string `json:"cause"`

	// Released is true for a persistent process: its id is gone. What holds
	// another one is told of the end as of any other.
	Released bool `json:"released"`
}

// Stop ends one process of any tier. It returns once the end is durable; if ctx
// ends before, the stop goes on.
func (c *Client) Stop(ctx context.Context, r *StopRequest) (*StopAnswer, error) {
	return call[StopAnswer](ctx, c, http.MethodPost, "/v1/stop", nil, r)
}
