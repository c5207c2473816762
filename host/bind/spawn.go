package bind

import (
	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/ledger/event"
)

// spawn runs a program to its end.
func spawn(c *call) (func(abi.Slot), error) {
	r, err := c.in.procs.Spawn(c.soft, c.caller(), liftRequest(c.args.Field("request")))
	if err != nil {
		return nil, err
	}
	return func(s abi.Slot) {
		s.Field("stdout").Text(lossy(r.Stdout))
		s.Field("stderr").Text(lossy(r.Stderr))
		lowerExit(s.Field("exit"), r.Exit)
	}, nil
}

// spawnBackground starts a program and gives the guest a handle to it.
func spawnBackground(c *call) (func(abi.Slot), error) {
	req := liftRequest(c.args.Field("request"))
	c.in.table.Room()
	p, err := c.in.procs.SpawnBackground(c.soft, c.caller(), req)
	if err != nil {
		return nil, err
	}
	return func(s abi.Slot) { s.Handle(c.in.table.Add(processHandle, p)) }, nil
}

// liftRequest reads a spawn-request of any revision.
func liftRequest(v abi.View) host.Request {
	r := host.Request{
		Cmd:  v.Field("cmd").Text(),
		Args: liftTexts(v.Field("args")),
		Env:  liftEnv(v.Field("env")),
		Cwd:  optional(v.Field("cwd"), abi.View.Text),
	}
	if stdin, ok := v.Field("stdin").Option(); ok {
		r.Stdin, r.HasStdin = stdin.Bytes(), true
	}
	if v.Has("limits") {
		r.Limits = liftLimits(v.Field("limits"))
	}
	if v.Has("label") {
		liftPersistent(&r, v)
	}
	return r
}

// liftPersistent reads the fields that count for the persistent tier.
func liftPersistent(r *host.Request, v abi.View) {
	r.Label = optional(v.Field("label"), abi.View.Text)
	r.KeepStdinOpen = optional(v.Field("keep-stdin-open"), abi.View.Bool)
	r.Overflow = optional(v.Field("overflow"), func(v abi.View) host.Overflow {
		n, _ := v.Case()
		return host.Overflow(n)
	})
	r.LogRingBytes = optional(v.Field("log-ring-bytes"), abi.View.U32)
	r.MaxLifetimeMS = optional(v.Field("max-lifetime-ms"), abi.View.U64)
	r.IdleTimeoutMS = optional(v.Field("idle-timeout-ms"), abi.View.U64)
	r.ExitRetentionMS = optional(v.Field("exit-retention-ms"), abi.View.U64)
}

func liftTexts(v abi.View) []string {
	l := v.List()
	out := make([]string, l.Len())
	for i := range out {
		out[i] = l.At(i).Text()
	}
	return out
}

func liftEnv(v abi.View) []host.EnvVar {
	l := v.List()
	out := make([]host.EnvVar, l.Len())
	for i := range out {
		out[i] = host.EnvVar{Key: l.At(i).Field("key").Text(), Value: l.At(i).Field("value").Text()}
	}
	return out
}

func liftLimits(v abi.View) *event.Limits {
	l, ok := v.Option()
	if !ok {
		return nil
	}
	return &event.Limits{
		MemoryBytes: optional(l.Field("max-memory-bytes"), abi.View.U64),
		CPUSeconds:  optional(l.Field("max-cpu-secs"), abi.View.U64),
		PIDs:        optional(l.Field("max-pids"), abi.View.U32),
		OpenFiles:   optional(l.Field("max-open-files"), abi.View.U32),
	}
}

// optional reads an option by the function for its value; nil is none.
func optional[T any](v abi.View, read func(abi.View) T) *T {
	of, ok := v.Option()
	if !ok {
		return nil
	}
	x := read(of)
	return &x
}
