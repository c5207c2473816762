package control

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Client talks to one daemon. It is safe for concurrent use and keeps no
// connection open longer than a minute of idleness.
type Client struct {
	socket string
	http   *http.Client

	// acts is for what is to be done, each time by a new connection. A daemon
	// that ends may close an idle one just as a request is on its way, and nobody
	// could tell whether it was read; who only looks then asks again.
	acts *http.Client
}

// NewClient returns a client of the daemon at the unix socket. It does not
// connect yet.
func NewClient(socket string) *Client {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, socket)
		},
		IdleConnTimeout:    time.Minute,
		DisableCompression: true,
	}
	once := t.Clone()
	once.DisableKeepAlives = true
	return &Client{socket: socket, http: &http.Client{Transport: t}, acts: &http.Client{Transport: once}}
}

// dial connects to the socket. Missing permission is a denial, anything else
// means that nobody is there.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, fs.ErrPermission):
		return nil, Errorf(CodeDenied, "no permission to use the control socket %s", socket).
			WithHint("run as the daemon's user, or have its operators list your uid")
	}
	return nil, &UnreachableError{Socket: socket, Err: innermost(err)}
}

// innermost drops net's own wording, which repeats the socket's path.
func innermost(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Socket returns the path the client connects to.
func (c *Client) Socket() string { return c.socket }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks how the daemon is. It is answered in every phase.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return call[Status](ctx, c, http.MethodGet, "/v1/status", nil, nil)
}

// WaitReady polls until the daemon is ready and returns its status. It fails
// when ctx ends, with the last reason it saw.
func (c *Client) WaitReady(ctx context.Context) (*Status, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		s, err := c.Status(ctx)
		if err == nil && s.Phase == PhaseReady {
			return s, nil
		}
		if err == nil {
			err = fmt.Errorf("daemon at %s is still %s", c.socket, s.Phase)
		}
		if ctx.Err() == nil || last == nil { // a look that was cut off saw nothing
			last = err
		}
		select {
		case <-ctx.Done():
			return nil, last
		case <-tick.C:
		}
	}
}

// Ps asks for the handle table: live handles, with all also terminal ones that
// are not yet released.
func (c *Client) Ps(ctx context.Context, all bool) (*Ps, error) {
	q := url.Values{}
	if all {
		q.Set("all", "1")
	}
	return call[Ps](ctx, c, http.MethodGet, "/v1/ps", q, nil)
}

// Capsules asks which capsules are served.
func (c *Client) Capsules(ctx context.Context) (*Capsules, error) {
	return call[Capsules](ctx, c, http.MethodGet, "/v1/capsules", nil, nil)
}

// Invoke calls a capsule and waits for its answer. If ctx ends, the daemon
// cancels the invocation.
func (c *Client) Invoke(ctx context.Context, in *Invocation) (*Answer, error) {
	return call[Answer](ctx, c, http.MethodPost, "/v1/invoke", nil, in)
}

// Cancel ends the processes of a scope. It returns once the cancel is durable,
// not when the processes are gone.
func (c *Client) Cancel(ctx context.Context, r *CancelRequest) (*CancelAnswer, error) {
	return call[CancelAnswer](ctx, c, http.MethodPost, "/v1/cancel", nil, r)
}

// BackedUp has the daemon record a copy of its ledger.
func (c *Client) BackedUp(ctx context.Context, b *Backup) error {
	_, err := call[BackupAnswer](ctx, c, http.MethodPost, "/v1/ledger/backed-up", nil, b)
	return err
}

// Newest tells about a copy of the newest segment.
type Newest struct {
	First, Last uint64 // seqs, 0 if it holds no event
	SHA256      [32]byte
	Bytes       int64
}

// Newest copies the ledger's newest segment to w, consistent as of one moment,
// and checks the digest that the daemon gives with it.
func (c *Client) Newest(ctx context.Context, w io.Writer) (*Newest, error) {
	resp, err := c.send(ctx, http.MethodGet, "/v1/ledger/newest", nil, nil, "")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), resp.Body)
	if err != nil {
		return nil, fmt.Errorf("copy of the newest segment: %w", err)
	}
	out := &Newest{Bytes: n, SHA256: [32]byte(h.Sum(nil))}
	if got := resp.Trailer.Get(TrailerSHA256); got != hex.EncodeToString(out.SHA256[:]) {
		return nil, Errorf(CodeFailed, "the copy of the newest segment arrived damaged: digest %x, the daemon says %q", out.SHA256, got).
			WithHint("try again")
	}
	first, err1 := seqTrailer(resp, TrailerFirst)
	last, err2 := seqTrailer(resp, TrailerLast)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	out.First, out.Last = first, last
	return out, nil
}

// seqTrailer reads a trailer that holds a seq.
func seqTrailer(resp *http.Response, name string) (uint64, error) {
	text := resp.Trailer.Get(name)
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, Errorf(CodeFailed, "copy of the newest segment: the trailer %s is %q, which is no seq", name, text).
			WithHint("check that astridctl and astridd are of the same version")
	}
	return n, nil
}

// call sends one request and decodes its JSON answer.
func call[T any](ctx context.Context, c *Client, method, path string, q url.Values, body any) (*T, error) {
	resp, err := c.send(ctx, method, path, q, body, "application/json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out := new(T)
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", path, err)
	}
	return out, nil
}

// send sends one request; the response's body is the caller's to close. Any
// status but 200 becomes an error. While the daemon is restarted it waits for the
// one that takes over.
func (c *Client) send(ctx context.Context, method, path string, q url.Values, body any, accept string) (*http.Response, error) {
	return patiently(ctx, func() (*http.Response, error) { return c.sendOnce(ctx, method, path, q, body, accept) })
}

func (c *Client) sendOnce(ctx context.Context, method, path string, q url.Values, body any, accept string) (*http.Response, error) {
	req, err := c.request(ctx, method, path, q, body)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	by := c.http
	if method == http.MethodPost {
		by = c.acts
	}
	resp, err := by.Do(req)
	if err != nil {
		return nil, sendError(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, errorOf(resp)
}

func (c *Client) request(ctx context.Context, method, path string, q url.Values, body any) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, Errorf(CodeUsage, "request to %s: %v", path, err)
		}
		r = bytes.NewReader(b)
	}
	u := url.URL{Scheme: "http", Host: "astridd", Path: path, RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), r)
	if err != nil {
		return nil, err
	}
	req.Header.Set(VersionHeader, strconv.Itoa(Version))
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// sendError takes http's wrapping off, so that people read what happened and
// not a made-up URL.
func sendError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var known *UnreachableError
	var denied *Error
	if errors.As(err, &known) || errors.As(err, &denied) {
		return err
	}
	return fmt.Errorf("the daemon went away: %w", err)
}

// errorOf reads the Error of a response that is not 200.
func errorOf(resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	e := new(Error)
	if err == nil && json.Unmarshal(b, e) == nil && e.Code != "" {
		return e
	}
	return Errorf(CodeFailed, "the daemon answered %s", resp.Status)
}
