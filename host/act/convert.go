//go:build linux

package act

import (
	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger/event"
)

// The shim does not link the ledger's events, so its records have types of
// their own; here the one becomes the other.

func identity(i shim.Identity) event.Identity {
	return event.Identity{PID: i.PID, StartTicks: i.StartTicks, PidfsHandle: i.PidfsHandle, PidNamespace: i.PidNamespace}
}

func shimIdentity(i event.Identity) shim.Identity {
	return shim.Identity{PID: i.PID, StartTicks: i.StartTicks, PidfsHandle: i.PidfsHandle, PidNamespace: i.PidNamespace}
}

func file(f shim.File) event.File {
	return event.File{Path: f.Path, Device: f.Device, Inode: f.Inode, SHA256: f.SHA256}
}

func started(s *shim.Started) *event.ProcessStarted {
	e := &event.ProcessStarted{
		Program: identity(s.Program), Shim: identity(s.Shim), Isolation: s.Isolation,
		Executable: file(s.Executable), StartedWall: s.Wall, StartedBoot: s.Boot,
	}
	if s.Interpreter != nil {
		f := file(*s.Interpreter)
		e.Interpreter = &f
	}
	return e
}

func failed(f *shim.Failed) *event.SpawnFailed {
	return &event.SpawnFailed{Step: f.Step, Errno: f.Errno, Detail: f.Detail}
}

func stream(s shim.Stream) event.StreamSummary {
	return event.StreamSummary{Bytes: s.Bytes, SHA256: s.SHA256, Dropped: s.Dropped}
}

func exitRecord(x *shim.Exit) *ExitRecord {
	r := &ExitRecord{Order: x.Order, DueBoot: x.Due, Exited: event.ProcessExited{
		CoreDumped: x.Core, Cause: x.Cause,
		UserNano: x.UserNano, SystemNano: x.SystemNano, MaxRSSKiB: x.MaxRSSKiB,
		Stdout: stream(x.Stdout), Stderr: stream(x.Stderr), RestKilled: x.RestKilled,
		EndedWall: x.Wall, EndedBoot: x.Boot,
	}}
	if x.Signaled {
		r.Exited.Exit.Signal = &x.Signal
	} else {
		r.Exited.Exit.Code = &x.Code
	}
	return r
}
