package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// defaultData is where a daemon keeps its data unless told otherwise.
const defaultData = "/var/lib/astrid"

// source is where a verb reads from: a daemon, or the files of a ledger. Every
// reading verb works with both.
type source interface {
	// where names the source for people.
	where() string

	// bounds returns the first and the last seq, 0, 0 for an empty ledger.
	bounds(ctx context.Context) (first, last uint64, err error)

	// events yields what q asks for. With q.Follow it ends only with ctx.
	events(ctx context.Context, q *control.EventsQuery) iter.Seq2[*event.Event, error]

	// through is the seq up to which the last events read the ledger,
	// events that did not match included.
	through() uint64

	// get returns one event; the error is ledger.ErrNotFound if there is none.
	get(ctx context.Context, seq uint64) (*event.Event, error)

	// ps returns the handle table as it is now, or was last.
	ps(ctx context.Context, all bool) (*control.Ps, error)

	// reader returns a reader of the whole ledger as of now, for replays. It
	// is closed with the source.
	reader(ctx context.Context) (ledger.Reader, error)

	close() error
}

// open finds the source: what the flags name, else what the environment names,
// else the daemon of the data directory if one answers, else its files.
func (a *app) open(ctx context.Context) (source, error) {
	daemon, dir, err := a.place(ctx)
	if err != nil {
		return nil, err
	}
	if daemon != nil {
		return daemon, nil
	}
	archive, err := ledger.OpenArchive(dir)
	if err != nil {
		return nil, err
	}
	return &fileSource{dir: dir, archive: archive}, nil
}

// place is where the source is: a daemon, or else a ledger's directory.
func (a *app) place(ctx context.Context) (*daemonSource, string, error) {
	if err := a.checkPlaces(); err != nil {
		return nil, "", err
	}
	if a.ledgerDir != "" {
		dir, err := ledgerIn(a.ledgerDir)
		return nil, dir, err
	}
	if socket := a.namedSocket(); socket != "" {
		return newDaemonSource(socket), "", nil
	}
	data := a.data()
	if socket := filepath.Join(data, "control.sock"); answers(ctx, socket) {
		return newDaemonSource(socket), "", nil
	}
	dir, err := ledgerIn(filepath.Join(data, "ledger"))
	if errors.Is(err, errNoLedger) {
		// Nobody answers and nothing can be read: the daemon is what is missed.
		err = &codedError{exitUnreachable, err}
	}
	return nil, dir, err
}

var errNoLedger = errors.New("no ledger")

// checkPlaces refuses flags that contradict each other.
func (a *app) checkPlaces() error {
	if a.ledgerDir != "" && (a.dataDir != "" || a.socket != "") {
		return usagef("--ledger reads files and goes neither with --data nor with --socket")
	}
	return nil
}

// namedSocket is the socket that was named, "" if none was. A data directory
// that was named by flag comes before a socket of the environment.
func (a *app) namedSocket() string {
	if a.socket != "" {
		return a.socket
	}
	if a.dataDir != "" {
		return ""
	}
	return a.getenv("ASTRID_SOCKET")
}

func (a *app) data() string {
	if a.dataDir != "" {
		return a.dataDir
	}
	if env := a.getenv("ASTRID_DATA"); env != "" {
		return env
	}
	return defaultData
}

// client returns a client of the daemon, for verbs that act.
func (a *app) client() (*control.Client, error) {
	if a.ledgerDir != "" {
		return nil, usagef("this verb asks a daemon; --ledger names files")
	}
	socket := a.namedSocket()
	if socket == "" {
		socket = filepath.Join(a.data(), "control.sock")
	}
	return control.NewClient(socket), nil
}

// answers tells whether a daemon is at the socket. A socket that this user may
// not use has one: the answer to the next request will say so.
func answers(ctx context.Context, socket string) bool {
	if _, err := os.Stat(socket); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c := control.NewClient(socket)
	defer c.Close()
	_, err := c.Status(ctx)
	var unreachable *control.UnreachableError
	return !errors.As(err, &unreachable)
}

// ledgerIn returns the directory of the ledger in dir, which may also be a data
// directory.
func ledgerIn(dir string) (string, error) {
	for _, d := range []string{dir, filepath.Join(dir, "ledger")} {
		if isDir(filepath.Join(d, "segments")) {
			return d, nil
		}
	}
	return "", ui.Hint(fmt.Errorf("%w in %s", errNoLedger, dir),
		"name one with --data DIR, --ledger DIR or --socket PATH, or start astridd")
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// stateAt returns the state after seq, with progress on standard error.
func (a *app) stateAt(ctx context.Context, s source, seq uint64) (*projector.State, error) {
	r, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	p := ui.StartProgress(a.stderr, "replaying")
	defer p.Stop()
	return projector.At(ctx, r, seq)
}
