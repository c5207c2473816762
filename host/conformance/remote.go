package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// request is one line from the suite to an adapter; doc.go describes it.
type request struct {
	ID        uint64 `json:"id"`
	Do        string `json:"do"`
	Setup     *Setup `json:"setup,omitempty"`
	Call      *Call  `json:"call,omitempty"`
	Principal string `json:"principal,omitempty"`
	Capsule   string `json:"capsule,omitempty"`
	CallID    string `json:"call_id,omitempty"`
}

// response is one line back: of the request with the same id.
type response struct {
	ID      uint64  `json:"id"`
	Error   string  `json:"error,omitempty"`
	Answer  *Answer `json:"answer,omitempty"`
	Running int     `json:"running,omitempty"`
}

// maxMessage bounds one line, in bytes: a payload of 1 MiB as JSON, and an
// answer of several.
const maxMessage = 64 << 20

// Remote is a host behind an adapter that speaks the protocol of doc.go.
type Remote struct {
	conn io.ReadWriteCloser

	mu      sync.Mutex // held for what follows and for one write
	next    uint64
	waiting map[uint64]chan response
	broken  error // set once nothing more will be answered
}

// Dial returns the host whose adapter is at the other end of conn, which Close
// closes.
func Dial(conn io.ReadWriteCloser) *Remote {
	r := &Remote{conn: conn, waiting: map[uint64]chan response{}}
	go r.read()
	return r
}

func (r *Remote) read() {
	lines := bufio.NewScanner(r.conn)
	lines.Buffer(nil, maxMessage)
	err := io.ErrUnexpectedEOF
	for lines.Scan() {
		var got response
		if err = json.Unmarshal(lines.Bytes(), &got); err != nil {
			break
		}
		r.mu.Lock()
		to := r.waiting[got.ID]
		delete(r.waiting, got.ID)
		r.mu.Unlock()
		if to != nil {
			to <- got
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = fmt.Errorf("the adapter answers no more: %w", errors.Join(err, lines.Err()))
	for _, to := range r.waiting {
		close(to)
	}
}

// ask sends a request and blocks until it is answered.
func (r *Remote) ask(ctx context.Context, q request) (response, error) {
	to := make(chan response, 1)
	if err := r.send(&q, to); err != nil {
		return response{}, err
	}
	select {
	case got, ok := <-to:
		if !ok {
			return got, r.broken
		}
		if got.Error != "" {
			return got, errors.New(got.Error)
		}
		return got, nil
	case <-ctx.Done():
		return response{}, ctx.Err()
	}
}

func (r *Remote) send(q *request, to chan response) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		return r.broken
	}
	r.next++
	q.ID = r.next
	text, err := json.Marshal(q)
	if err != nil {
		return err
	}
	r.waiting[q.ID] = to
	_, err = r.conn.Write(append(text, '\n'))
	return err
}

// Start implements Host.
func (r *Remote) Start(ctx context.Context, s Setup) error {
	_, err := r.ask(ctx, request{Do: "start", Setup: &s})
	return err
}

// Invoke implements Host.
func (r *Remote) Invoke(ctx context.Context, c Call) (Answer, error) {
	got, err := r.ask(ctx, request{Do: "invoke", Call: &c})
	if err == nil && got.Answer == nil {
		err = errors.New("the adapter gave no answer to an invoke")
	}
	if err != nil {
		return Answer{}, err
	}
	return *got.Answer, nil
}

// Cancel implements Host.
func (r *Remote) Cancel(ctx context.Context, principal, capsule, callID string) error {
	_, err := r.ask(ctx, request{Do: "cancel", Principal: principal, Capsule: capsule, CallID: callID})
	return err
}

// Retire implements Host.
func (r *Remote) Retire(ctx context.Context, principal string) error {
	_, err := r.ask(ctx, request{Do: "retire", Principal: principal})
	return err
}

// Running implements Host.
func (r *Remote) Running(ctx context.Context, principal string) (int, error) {
	got, err := r.ask(ctx, request{Do: "running", Principal: principal})
	return got.Running, err
}

// Restart implements Host.
func (r *Remote) Restart(ctx context.Context) error {
	_, err := r.ask(ctx, request{Do: "restart"})
	return err
}

// Close implements Host: it has the adapter close its host, and closes the
// connection.
func (r *Remote) Close() error {
	_, err := r.ask(context.Background(), request{Do: "close"})
	return errors.Join(err, r.conn.Close())
}
