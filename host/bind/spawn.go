package bind

import (
	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
)

// spawn runs a program to its end.
func spawn(c *call) (func(abi.Slot), error) {
	r, err := c.in.procs.Spawn(c.soft, c.caller(), liftRequest(c.arg("request")))
	if err != nil {
		return nil, err
	}
	return func(s abi.Slot) { lowerResult(s, r) }, nil
}

// spawnBackground starts a program and gives the guest a handle to it.
func spawnBackground(c *call) (func(abi.Slot), error) {
	l := requestLifter{liftRequest(c.arg("request"))}
	if c.in.table.Full() {
		l.refuse(host.RegistryFull, "the instance holds %d handles and may hold no more", maxHandles)
	}
	p, err := c.in.procs.SpawnBackground(c.soft, c.caller(), l.r)
	if err != nil {
		return nil, err
	}
	return c.give(&handle{Process: p}), nil
}

// spawnPersistent starts a program that outlives the instance.
func spawnPersistent(c *call) (func(abi.Slot), error) {
	id, err := c.in.procs.SpawnPersistent(c.soft, c.caller(), liftRequest(c.arg("request")))
	return func(s abi.Slot) { s.Text(id) }, err
}

func lowerResult(s abi.Slot, r *host.Result) {
	s.Field("stdout").Text(lossy(r.Stdout))
	s.Field("stderr").Text(lossy(r.Stderr))
	lowerExit(s.Field("exit"), r.Exit)
}
