//go:build linux

package worldcheck

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/astrid-os/processledger/ledger/event"
)

// fields are a protobuf message by field number; of repeated ones the last.
type fields map[protowire.Number]field

type field struct {
	n uint64
	b []byte
}

func parse(b []byte) (fields, error) {
	f := fields{}
	for len(b) > 0 && b[0] != 0 { // a file that was allocated ahead ends in zeros
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		b = b[n:]
		var v field
		switch typ {
		case protowire.VarintType:
			v.n, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			v.b, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		f[num], b = v, b[n:]
	}
	return f, nil
}

// part is a message in a message; one that cannot be parsed is empty.
func (f fields) part(n protowire.Number) fields {
	p, err := parse(f[n].b)
	if err != nil {
		return fields{}
	}
	return p
}

// record reads one record of a process directory; nil if there is none.
func record(dir, name string) (fields, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	frame, err := frameOf(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return parse(frame)
}

// frameOf returns what is in the frame around a record, if the sum is right.
func frameOf(b []byte) ([]byte, error) {
	f, err := parse(b)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(f[2].b)
	if !bytes.Equal(f[3].b, sum[:8]) {
		return nil, errors.New("the record's sum is wrong")
	}
	return f[2].b, nil
}

// identity is the identity that a record names.
func identity(f fields) event.Identity {
	return event.Identity{PID: uint32(f[1].n), StartTicks: f[2].n, PidfsHandle: f[3].b, PidNamespace: f[4].n}
}

// sameIdentity compares what the event says with what the record says.
func sameIdentity(s *sentences, a, b event.Identity, what string) {
	same(s, a.PID, b.PID, "%s, pid by the ledger and by the record", what)
	same(s, a.StartTicks, b.StartTicks, "%s, start time by the ledger and by the record", what)
	same(s, hex.EncodeToString(a.PidfsHandle), hex.EncodeToString(b.PidfsHandle), "%s, pidfs handle by the ledger and by the record", what)
	same(s, a.PidNamespace, b.PidNamespace, "%s, PID namespace by the ledger and by the record", what)
}

// startedAgrees compares process.started with the record `started`.
func startedAgrees(s *sentences, e *event.ProcessStarted, r fields, who string) {
	sameIdentity(s, e.Program, identity(r.part(1)), who+": program")
	sameIdentity(s, e.Shim, identity(r.part(2)), who+": shim")
	same(s, e.Isolation, string(r[3].b), "%s: isolation by the ledger and by the record", who)
	sameFile(s, e.Executable, r.part(4), who+": executable")
	if (e.Interpreter != nil) != (r[5].b != nil) {
		s.say("%s: the ledger and the record disagree whether there is an interpreter", who)
	} else if e.Interpreter != nil {
		sameFile(s, *e.Interpreter, r.part(5), who+": interpreter")
	}
	same(s, e.StartedBoot, int64(r[6].n), "%s: start by the ledger and by the record, ns since boot", who)
	same(s, e.StartedWall, int64(r[7].n), "%s: start by the ledger and by the record, ns since 1970", who)
}

func sameFile(s *sentences, e event.File, r fields, what string) {
	same(s, e.Path, string(r[1].b), "%s, path by the ledger and by the record", what)
	same(s, e.Device, r[2].n, "%s, device by the ledger and by the record", what)
	same(s, e.Inode, r[3].n, "%s, inode by the ledger and by the record", what)
	same(s, hex.EncodeToString(e.SHA256), hex.EncodeToString(r[4].b), "%s, SHA-256 by the ledger and by the record", what)
}

// exitAgrees compares process.exited with the record `exit`.
func exitAgrees(s *sentences, e *event.ProcessExited, r fields, who string) {
	want := fmt.Sprintf("code %d", int32(r[2].n))
	if r[1].n != 0 {
		want = fmt.Sprintf("signal %d", int32(r[3].n))
	}
	same(s, exitText(&e.Exit), want, "%s: exit by the ledger and by the record", who)
	same(s, e.CoreDumped, r[4].n != 0, "%s: core dump by the ledger and by the record", who)
	same(s, e.Cause, string(r[5].b), "%s: cause by the ledger and by the record", who)
	same(s, e.UserNano, int64(r[8].n), "%s: user time by the ledger and by the record", who)
	same(s, e.SystemNano, int64(r[9].n), "%s: system time by the ledger and by the record", who)
	same(s, e.MaxRSSKiB, r[10].n, "%s: memory by the ledger and by the record", who)
	sameStream(s, e.Stdout, r.part(11), who+": stdout")
	sameStream(s, e.Stderr, r.part(12), who+": stderr")
	same(s, e.RestKilled, uint32(r[13].n), "%s: rest killed by the ledger and by the record", who)
	same(s, e.EndedBoot, int64(r[14].n), "%s: end by the ledger and by the record, ns since boot", who)
	same(s, e.EndedWall, int64(r[15].n), "%s: end by the ledger and by the record, ns since 1970", who)
}

func sameStream(s *sentences, e event.StreamSummary, r fields, what string) {
	same(s, e.Bytes, r[1].n, "%s, bytes by the ledger and by the record", what)
	same(s, hex.EncodeToString(e.SHA256), hex.EncodeToString(r[2].b), "%s, SHA-256 by the ledger and by the record", what)
	same(s, e.Dropped, r[3].n, "%s, dropped by the ledger and by the record", what)
}

// failedAgrees compares spawn.failed with the record `failed`.
func failedAgrees(s *sentences, e *event.SpawnFailed, r fields, who string) {
	same(s, e.Step, string(r[1].b), "%s: failed step by the ledger and by the record", who)
	same(s, e.Errno, uint32(r[2].n), "%s: error number by the ledger and by the record", who)
	same(s, e.Detail, string(r[3].b), "%s: detail by the ledger and by the record", who)
}

func exitText(x *event.Exit) string {
	switch {
	case x == nil:
		return "nothing"
	case x.Code != nil:
		return fmt.Sprintf("code %d", *x.Code)
	case x.Signal != nil:
		return fmt.Sprintf("signal %d", *x.Signal)
	}
	return "neither code nor signal"
}
