package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Serve is an adapter's side of the protocol: it does to a host what the
// requests on conn say, several at once, until they end or one says close.
func Serve(ctx context.Context, conn io.ReadWriter, h Host) error {
	s := &server{host: h, to: conn}
	defer s.wait.Wait()
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, maxMessage)
	for lines.Scan() {
		var q request
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return fmt.Errorf("request: %w", err)
		}
		if q.Do == "close" {
			s.wait.Wait()
			return s.answer(response{ID: q.ID, Error: text(h.Close())})
		}
		s.wait.Go(func() { _ = s.answer(s.do(ctx, q)) })
	}
	return lines.Err()
}

type server struct {
	host Host
	wait sync.WaitGroup

	mu sync.Mutex // held for one write
	to io.Writer
}

func (s *server) answer(r response) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err = s.to.Write(append(line, '\n'))
	return err
}

func (s *server) do(ctx context.Context, q request) (r response) {
	var err error
	switch {
	case q.Do == "start" && q.Setup != nil:
		err = s.host.Start(ctx, *q.Setup)
	case q.Do == "invoke" && q.Call != nil:
		var a Answer
		a, err = s.host.Invoke(ctx, *q.Call)
		r.Answer = &a
	case q.Do == "cancel":
		err = s.host.Cancel(ctx, q.Principal, q.Capsule, q.CallID)
	case q.Do == "retire":
		err = s.host.Retire(ctx, q.Principal)
	case q.Do == "running":
		r.Running, err = s.host.Running(ctx, q.Principal)
	case q.Do == "restart":
		err = s.host.Restart(ctx)
	default:
		err = fmt.Errorf("no request is called %q, or it lacks what it is about", q.Do)
	}
	r.ID, r.Error = q.ID, text(err)
	return r
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
