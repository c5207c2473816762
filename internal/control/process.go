package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
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

	// Unrecorded is true if there is no ledger that could record it yet: the
	// next daemon that has one does.
	Unrecorded bool `json:"unrecorded,omitempty"`
}

// Stop ends one process of any tier. It returns once the end is durable; if ctx
// ends before, the stop goes on.
func (c *Client) Stop(ctx context.Context, r *StopRequest) (*StopAnswer, error) {
	return call[StopAnswer](ctx, c, http.MethodPost, "/v1/stop", nil, r)
}

// The streams of a process.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// LogsQuery is a request of /v1/logs, in a URL the parameters id, stream,
// cursor, after-stdout, after-stderr and follow.
type LogsQuery struct {
	ID     string // the handle's ULID, whole
	Stream string // Stdout or Stderr; empty: both

	// Cursor is where to begin: Next of the last chunk of an earlier request.
	// Empty: with the oldest that is kept. It is of one stream, so it needs
	// Stream.
	Cursor string

	// AfterStdout and AfterStderr are Cursor where both streams are asked for;
	// one that is empty begins with the oldest.
	AfterStdout, AfterStderr string

	// Follow asks for what is written later, too, until both streams end.
	Follow bool
}

// Parameters of a LogsQuery.
const (
	paramID     = "id"
	paramStream = "stream"
	paramCursor = "cursor"
	paramAfter  = "after-" // and the stream
)

// Values returns the query as URL parameters.
func (q *LogsQuery) Values() url.Values {
	v := url.Values{paramID: {q.ID}}
	if q.Stream != "" {
		v.Set(paramStream, q.Stream)
	}
	if q.Cursor != "" {
		v.Set(paramCursor, q.Cursor)
	}
	if q.AfterStdout != "" {
		v.Set(paramAfter+Stdout, q.AfterStdout)
	}
	if q.AfterStderr != "" {
		v.Set(paramAfter+Stderr, q.AfterStderr)
	}
	if q.Follow {
		v.Set(paramFollow, "1")
	}
	return v
}

// ParseLogsQuery reads a query from URL parameters. An unknown one is an error.
func ParseLogsQuery(v url.Values) (*LogsQuery, error) {
	for name := range v {
		if name != paramID && name != paramStream && name != paramCursor && name != paramFollow && name != paramAfter+Stdout && name != paramAfter+Stderr {
			return nil, fmt.Errorf("parameter %q is not known", name)
		}
	}
	q := &LogsQuery{
		ID: v.Get(paramID), Stream: v.Get(paramStream), Cursor: v.Get(paramCursor), Follow: isTrue(v.Get(paramFollow)),
		AfterStdout: v.Get(paramAfter + Stdout), AfterStderr: v.Get(paramAfter + Stderr),
	}
	switch {
	case q.AfterStdout+q.AfterStderr != "" && q.Stream != "":
		return nil, fmt.Errorf("stream and %s… do not go together; use cursor", paramAfter)
	case q.ID == "":
		return nil, fmt.Errorf("id: name the process whose output is asked for")
	case q.Stream != "" && q.Stream != Stdout && q.Stream != Stderr:
		return nil, fmt.Errorf("stream %q: use %s or %s, or leave it out for both", q.Stream, Stdout, Stderr)
	case q.Cursor != "" && q.Stream == "":
		return nil, fmt.Errorf("a cursor is of one stream; name it with stream=")
	}
	return q, nil
}

// LogChunk is a piece of a process's output, a line of /v1/logs. Reading takes
// nothing away from the process's capsule.
type LogChunk struct {
	Stream string `json:"stream"`
	Data   []byte `json:"data"` // as the program wrote it, in base64

	// Next is the cursor behind this chunk.
	Next string `json:"next"`

	// Dropped is how many bytes between the cursor asked for and the first of
	// Data are not kept any more.
	Dropped uint64 `json:"dropped,omitempty"`

	// EOF is true of the last chunk of a stream that has ended.
	EOF bool `json:"eof,omitempty"`
}

// Logs asks for a process's output. The lines are the caller's to close.
func (c *Client) Logs(ctx context.Context, q *LogsQuery) (*Lines[LogChunk], error) {
	return lines[LogChunk](ctx, c, "/v1/logs", q.Values())
}

// BusMessage is a message that a capsule or the host published, a line of
// /v1/bus.
type BusMessage struct {
	At       time.Time       `json:"at"` // when the daemon passed it on
	Topic    string          `json:"topic"`
	Payload  json.RawMessage `json:"payload"`
	SourceID string          `json:"source_id"`

	// Principal is on whose behalf: Kind "verified" (the host knows), "claimed"
	// (a capsule says so), or "system" (the host's own, without a name).
	Principal BusPrincipal `json:"principal"`

	// Dropped and Lagged count messages that this reader lost before this one,
	// because it was too slow.
	Dropped uint64 `json:"dropped,omitempty"`
	Lagged  uint64 `json:"lagged,omitempty"`
}

// BusPrincipal is on whose behalf a message was published.
type BusPrincipal struct {
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
}

// Bus asks for the messages that are published from now on and whose topic fits
// the pattern; an empty pattern stands for every topic. The lines are the
// caller's to close.
func (c *Client) Bus(ctx context.Context, pattern string) (*Lines[BusMessage], error) {
	v := url.Values{}
	if pattern != "" {
		v.Set("topic", pattern)
	}
	return lines[BusMessage](ctx, c, "/v1/bus", v)
}

// lines asks for a stream of lines.
func lines[T any](ctx context.Context, c *Client, path string, v url.Values) (*Lines[T], error) {
	resp, err := c.send(ctx, http.MethodGet, path, v, nil, TypeNDJSON)
	if err != nil {
		return nil, err
	}
	return newLines[T](resp.Body), nil
}
