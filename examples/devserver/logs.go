package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/process"
)

// maxLog is how many bytes of a log stand in one answer; the cursor says where
// the next begins.
const maxLog = 32 << 10

// maxWait bounds how long a call waits for something new.
const maxWait = 30 * time.Second

// piece is a piece of a server's log.
type piece struct {
	Text    string         `json:"text"`
	Cursor  process.Cursor `json:"cursor,omitempty"`  // to be given to the next call
	Dropped uint64         `json:"dropped,omitempty"` // bytes that were lost before this
	Ended   bool           `json:"ended"`             // nothing will follow
}

// logs is the tool dev_logs. The cursor is in the caller's hands: an instance
// of the capsule may be gone when the next call comes, and every caller follows
// the log at a pace of its own.
func logs(c guest.Call) (any, error) {
	in := struct {
		Name   string         `json:"name"`
		Stream string         `json:"stream"`
		Cursor process.Cursor `json:"cursor"`
		WaitMS int64          `json:"wait_ms"`
	}{Stream: "stdout"}
	if err := c.Decode(&in); err != nil {
		return nil, err
	}
	streams := map[string]process.Stream{"stdout": process.Stdout, "stderr": process.Stderr}
	stream, ok := streams[in.Stream]
	if !ok {
		return nil, fmt.Errorf("arguments: no stream %q; there are stdout and stderr", in.Stream)
	}
	i, err := must(in.Name)
	if err != nil {
		return nil, err
	}
	wait := min(time.Duration(in.WaitMS)*time.Millisecond, maxWait)
	return read(i.ID.Tail(stream, in.Cursor), wait)
}

// read returns the next piece of a log, empty if nothing comes in time.
func read(t *process.Tail, wait time.Duration) (piece, error) {
	chunk, err := t.NextWithin(maxLog, wait)
	switch {
	case errors.Is(err, io.EOF):
		return piece{Cursor: t.Cursor(), Ended: true}, nil
	case errors.Is(err, process.ErrWaitTimeout):
		return piece{Cursor: t.Cursor()}, nil
	case errors.Is(err, process.ErrNoSuchProcess):
		return piece{}, errors.New("the cursor is not one of this server's log; leave it out to begin anew")
	case err != nil:
		return piece{}, err
	}
	return piece{
		Text:   strings.ToValidUTF8(string(chunk.Data), "\uFFFD"),
		Cursor: t.Cursor(), Dropped: chunk.Dropped, Ended: chunk.EOF,
	}, nil
}
