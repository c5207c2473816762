package bind

import (
	"time"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
)

// Bounds of what names something, in bytes. Each is more than the host takes,
// so that what was cut is still refused, or found nowhere.
const (
	clippedID     = 64
	clippedToken  = 512
	clippedLabel  = 256
	clippedSuffix = 512
)

// maxIDs is how many ids one status-many may name: ours, and sixteen times as
// many as a capsule can have.
const maxIDs = 4096

// id reads the process id that a call is about.
func (c *call) id() string { return liftID(c.arg("id")) }

func liftID(v abi.View) string { return v.Clip(clippedID) }

func clipped(n int) func(abi.View) string {
	return func(v abi.View) string { return v.Clip(n) }
}

func attach(c *call) (func(abi.Slot), error) {
	id := c.id()
	if c.in.table.Full() {
		return nil, &host.Error{Code: host.RegistryFull, Detail: "the instance holds as many handles as it may"}
	}
	p, err := c.in.procs.Attach(c.ctx, c.caller(), id)
	if err != nil {
		return nil, err
	}
	return c.give(&handle{Process: p}), nil
}

func listProcesses(c *call) (func(abi.Slot), error) {
	all, err := c.in.procs.ListProcesses(c.ctx, c.caller(), optional(c.arg("label"), clipped(clippedLabel)))
	return func(s abi.Slot) { lowerInfos(s, all) }, err
}

func status(c *call) (func(abi.Slot), error) {
	i, err := c.in.procs.ProcessStatus(c.ctx, c.caller(), c.id())
	return func(s abi.Slot) { lowerInfo(s, i) }, err
}

func statusMany(c *call) (func(abi.Slot), error) {
	list := c.arg("ids").List()
	if list.Len() > maxIDs {
		return nil, &host.Error{Code: host.TooLarge, Detail: "more ids than one call may name"}
	}
	ids := make([]string, list.Len())
	for i := range ids {
		ids[i] = liftID(list.At(i))
	}
	all, err := c.in.procs.StatusMany(c.ctx, c.caller(), ids)
	return func(s abi.Slot) { lowerInfos(s, all) }, err
}

func readProcessLogs(c *call) (func(abi.Slot), error) {
	l, err := c.in.procs.ReadProcessLogs(c.ctx, c.caller(), c.id())
	return func(s abi.Slot) { lowerLogs(s, l) }, err
}

func readSince(c *call) (func(abi.Slot), error) {
	id, cursor := c.id(), optional(c.arg("cursor").Field("token"), clipped(clippedToken))
	stream, _ := c.arg("which").Case()
	chunk, err := c.in.procs.ReadSince(c.ctx, c.caller(), id, host.Stream(stream), cursor, c.arg("max-bytes").U32())
	return func(s abi.Slot) {
		s.Field("data").Bytes(chunk.Data)
		s.Field("next").Field("token").Some().Text(chunk.Next)
		s.Field("bytes-dropped").U64(chunk.Dropped)
		s.Field("drained-eof").Bool(chunk.DrainedEOF)
	}, err
}

func writeProcessStdin(c *call) (func(abi.Slot), error) {
	id := c.id()
	data, err := liftInput(c.arg("data"))
	if err != nil {
		return nil, err
	}
	n, err := c.in.procs.WriteProcessStdin(c.soft, c.caller(), id, data)
	return func(s abi.Slot) { s.U32(n) }, err
}

func closeProcessStdin(c *call) (func(abi.Slot), error) {
	return nil, c.in.procs.CloseProcessStdin(c.ctx, c.caller(), c.id())
}

func signalProcess(c *call) (func(abi.Slot), error) {
	return nil, c.in.procs.SignalProcess(c.ctx, c.caller(), c.id(), liftSignal(c.arg("sig")))
}

func waitProcess(c *call) (func(abi.Slot), error) {
	exit, err := c.in.procs.WaitProcess(c.soft, c.caller(), c.id(), liftMillis(c.arg("timeout-ms")))
	return func(s abi.Slot) { lowerExit(s, exit) }, err
}

// stopProcess waits for the end; after a cancel the ending goes on alone.
func stopProcess(c *call) (func(abi.Slot), error) {
	exit, err := c.in.procs.StopProcess(c.soft, c.caller(), c.id(), optional(c.arg("grace-ms"), liftMillis))
	return func(s abi.Slot) { lowerExit(s, exit) }, err
}

func releaseProcess(c *call) (func(abi.Slot), error) {
	return nil, c.in.procs.ReleaseProcess(c.ctx, c.caller(), c.id())
}

func watch(c *call) (func(abi.Slot), error) {
	return nil, c.in.procs.WatchProcess(c.ctx, c.caller(), c.id(), optional(c.arg("suffix"), clipped(clippedSuffix)))
}

func unwatch(c *call) (func(abi.Slot), error) {
	return nil, c.in.procs.UnwatchProcess(c.ctx, c.caller(), c.id())
}

func lowerInfos(s abi.Slot, all []host.Info) {
	s.List(len(all), func(i int, e abi.Slot) { lowerInfo(e, all[i]) })
}

func lowerInfo(s abi.Slot, i host.Info) {
	s.Field("id").Text(i.ID)
	s.Field("label").Text(lossyString(i.Label))
	s.Field("command").Text(lossyString(i.Command))
	if i.OSPid != nil {
		s.Field("os-pid").Some().U32(*i.OSPid)
	}
	s.Field("phase").Case(int(i.Phase))
	lowerMaybeExit(s.Field("exit"), i.Exit)
	s.Field("age-ms").U64(millis(i.Age))
	s.Field("idle-ms").U64(millis(i.Idle))
	s.Field("buffered-bytes").U64(i.Buffered)
	s.Field("bytes-dropped").U64(i.Dropped)
	s.Field("stdin-open").Bool(i.StdinOpen)
	if i.CPU != nil {
		s.Field("cpu-ms").Some().U64(millis(*i.CPU))
	}
	if i.MemPeak != nil {
		s.Field("mem-bytes-peak").Some().U64(*i.MemPeak)
	}
}

// millis is a duration in milliseconds; one below zero, of a clock that was set
// back, is none.
func millis(d time.Duration) uint64 { return uint64(max(0, d.Milliseconds())) }
