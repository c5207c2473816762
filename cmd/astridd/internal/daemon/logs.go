package daemon

import (
	"context"
	"strconv"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/internal/control"
)

// busOwner is what an operator's subscriptions are counted by.
const busOwner = "operators"

// Subscribe implements serve.Backend.
func (d *Daemon) Subscribe(pattern string) (*ipc.Subscription, error) {
	e, err := d.ready()
	if err != nil {
		return nil, err
	}
	return e.bus.Subscribe(busOwner, pattern)
}

// logReader reads the streams of one process, each from where it stands.
type logReader struct {
	out     output
	pos     [2]uint64
	over    [2]bool // nothing more is asked of it
	written bool    // by the newest pass
}

// output is a process's output, held or found.
type output interface {
	Read(s host.Stream, pos uint64, most int) (host.Piece, error)
	More(stdout, stderr uint64) poll.Source
	Close()
}

// outputOf opens the output of a process.
func (d *Daemon) outputOf(ctx context.Context, id ulid.ULID, follow bool) (output, error) {
	if m := d.damage.Load(); m != nil {
		return m.output(id, follow)
	}
	e, err := d.ready()
	if err != nil {
		return nil, err
	}
	out, err := e.host.OutputOf(ctx, id)
	if err != nil {
		return nil, hostError(err)
	}
	return out, nil
}

// Logs implements serve.Backend.
func (d *Daemon) Logs(ctx context.Context, q *control.LogsQuery, chunk func(*control.LogChunk) error, flush func() error) error {
	id, err := ulid.ParseStrict(q.ID)
	if err != nil {
		return control.Errorf(control.CodeUsage, "%q is no process's id: %v", q.ID, err)
	}
	r := &logReader{over: [2]bool{q.Stream == control.Stderr, q.Stream == control.Stdout}}
	if err := r.begin(q); err != nil {
		return err
	}
	if r.out, err = d.outputOf(ctx, id, q.Follow); err != nil {
		return err
	}
	defer r.out.Close()
	return r.run(ctx, q.Follow, chunk, flush)
}

// begin reads the cursors: each the number of the next byte.
func (r *logReader) begin(q *control.LogsQuery) error {
	for _, after := range [][2]string{{q.Stream, q.Cursor}, {control.Stdout, q.AfterStdout}, {control.Stderr, q.AfterStderr}} {
		stream, cursor := after[0], after[1]
		if cursor == "" {
			continue
		}
		pos, err := strconv.ParseUint(cursor, 10, 64)
		if err != nil {
			return control.Errorf(control.CodeUsage, "%.80q is no cursor of %s", cursor, stream)
		}
		r.pos[streamNumbers[stream]] = pos
	}
	return nil
}

var (
	streamNames   = [2]string{host.Stdout: control.Stdout, host.Stderr: control.Stderr}
	streamNumbers = map[string]host.Stream{control.Stdout: host.Stdout, control.Stderr: host.Stderr}
)

func (r *logReader) run(ctx context.Context, follow bool, chunk func(*control.LogChunk) error, flush func() error) error {
	for {
		r.written = false
		for s := range r.over {
			if err := r.read(host.Stream(s), chunk); err != nil {
				return err
			}
		}
		switch {
		case r.over == [2]bool{true, true} || !follow && !r.written:
			return nil
		case r.written:
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		if _, err := poll.Wait(ctx, r.more()); err != nil {
			return err
		}
	}
}

// more is ready once there is something to read. A stream that is not asked for
// never is.
func (r *logReader) more() poll.Source {
	const never = 1<<64 - 1
	at := r.pos
	for s, over := range r.over {
		if over {
			at[s] = never
		}
	}
	return r.out.More(at[host.Stdout], at[host.Stderr])
}

// chunkBytes is the most that one line carries.
const chunkBytes = 64 << 10

// read passes on the next piece of a stream, and its end. What is only asked for
// as far as it has come has no end.
func (r *logReader) read(s host.Stream, chunk func(*control.LogChunk) error) error {
	if r.over[s] {
		return nil
	}
	p, err := r.out.Read(s, r.pos[s], chunkBytes)
	if err != nil {
		return hostError(err)
	}
	if len(p.Data) == 0 && !p.EOF {
		return nil
	}
	next := p.From + uint64(len(p.Data))
	c := &control.LogChunk{
		Stream: streamNames[s], Data: p.Data, Next: strconv.FormatUint(next, 10), Dropped: p.From - r.pos[s], EOF: p.EOF,
	}
	r.pos[s], r.over[s], r.written = next, p.EOF, true
	return chunk(c)
}
