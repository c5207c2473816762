package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger/event"
)

// EventsQuery is a request of /v1/events. Its parameters in a URL are those of
// query.Filter and order ("asc" or "desc"), limit and follow ("1").
type EventsQuery struct {
	Filter query.Filter

	// Reverse asks for the newest first. Not with Follow.
	Reverse bool

	// Limit is the most events to send, 0 for no limit. With Follow it bounds
	// those before the live ones: the last Limit of them are sent, as of tail.
	// Without Follow it is the first Limit in the order asked for.
	Limit int

	// Follow asks for what is committed later, too, until the caller leaves.
	Follow bool
}

// The parameters of an EventsQuery beside those of its filter.
const (
	paramOrder  = "order"
	paramLimit  = "limit"
	paramFollow = "follow"
)

// Values returns the query as URL parameters.
func (q *EventsQuery) Values() url.Values {
	v := q.Filter.Values()
	if q.Reverse {
		v.Set(paramOrder, "desc")
	}
	if q.Limit > 0 {
		v.Set(paramLimit, strconv.Itoa(q.Limit))
	}
	if q.Follow {
		v.Set(paramFollow, "1")
	}
	return v
}

// ParseEventsQuery reads a query from URL parameters. An unknown parameter is
// an error, so that a misspelt filter never shows everything.
func ParseEventsQuery(v url.Values, now query.Now) (*EventsQuery, error) {
	for name := range v {
		if !query.IsParam(name) && name != paramOrder && name != paramLimit && name != paramFollow {
			return nil, fmt.Errorf("parameter %q is not known", name)
		}
	}
	f, err := query.FromValues(v, now)
	if err != nil {
		return nil, err
	}
	q := &EventsQuery{Filter: f, Follow: isTrue(v.Get(paramFollow))}
	switch v.Get(paramOrder) {
	case "", "asc":
	case "desc":
		q.Reverse = true
	default:
		return nil, fmt.Errorf("order %q: use asc or desc", v.Get(paramOrder))
	}
	if s := v.Get(paramLimit); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 0 {
			return nil, fmt.Errorf("limit %q: use a number from 0", s)
		}
	}
	if q.Reverse && q.Follow {
		return nil, errors.New("order=desc and follow=1 do not go together")
	}
	return q, nil
}

func isTrue(s string) bool { return s == "1" || s == "true" }

// Stream is an answer of /v1/events while it arrives.
type Stream struct {
	body   io.ReadCloser
	frames frameReader
}

// Events asks for events. The stream is the caller's to close; ending ctx ends
// it as well.
func (c *Client) Events(ctx context.Context, q *EventsQuery) (*Stream, error) {
	resp, err := c.send(ctx, http.MethodGet, "/v1/events", q.Values(), nil, TypeFrames)
	if err != nil {
		return nil, err
	}
	return &Stream{body: resp.Body, frames: frameReader{r: bufio.NewReaderSize(resp.Body, 64<<10)}}, nil
}

// All yields the events once, in the order asked for. After an error, which
// may be [ErrCutOff], nothing follows.
func (s *Stream) All() iter.Seq2[*event.Event, error] {
	return func(yield func(*event.Event, error) bool) {
		for {
			e, err := s.frames.next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if e != nil && !yield(e, nil) {
				return
			}
		}
	}
}

// Through returns the seq up to which (in reverse: down to which) the ledger
// has been read so far, events that did not match included. It is a cursor:
// FromSeq of the next query is Through()+1.
func (s *Stream) Through() uint64 { return s.frames.through }

// Close ends the stream.
func (s *Stream) Close() error { return s.body.Close() }
