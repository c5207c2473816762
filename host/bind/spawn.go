package bind

import (
	"fmt"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/ledger/event"
)

// spawn runs a program to its end.
func spawn(c *call) (func(abi.Slot), error) {
	req, err := liftRequest(c.args.Field("request"))
	if err != nil {
		return nil, err
	}
	r, err := c.in.procs.Spawn(c.soft, c.caller(), req)
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
	req, err := liftRequest(c.args.Field("request"))
	if err != nil {
		return nil, err
	}
	c.in.table.Room()
	p, err := c.in.procs.SpawnBackground(c.soft, c.caller(), req)
	if err != nil {
		return nil, err
	}
	return func(s abi.Slot) { s.Handle(c.in.table.Add(processHandle, p)) }, nil
}

// The bounds of a request's lists. The process host refuses beyond them too; here
// they keep a list from being lifted at all, which would cost the daemon many
// times what it costs the guest. Such a request is no request yet, like one that
// is malformed: it is answered, and not recorded as a spawn.
const (
	maxArgs      = 4096
	maxArgsBytes = 1 << 20 // all arguments together
	maxEnv       = 256
)

// liftRequest reads a spawn-request of any revision. The error is a *host.Error
// about a list that is too long.
func liftRequest(v abi.View) (r host.Request, err error) {
	r.Cmd = v.Field("cmd").Text()
	if r.Args, err = liftArgs(v.Field("args")); err != nil {
		return r, err
	}
	if r.Env, err = liftEnv(v.Field("env")); err != nil {
		return r, err
	}
	r.Cwd = optional(v.Field("cwd"), abi.View.Text)
	if stdin, ok := v.Field("stdin").Option(); ok {
		r.Stdin, r.HasStdin = stdin.Bytes(), true
	}
	if v.Has("limits") {
		r.Limits = liftLimits(v.Field("limits"))
	}
	if v.Has("label") {
		liftPersistent(&r, v)
	}
	return r, nil
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

func liftArgs(v abi.View) ([]string, error) {
	if n := v.Size(); n > maxArgs {
		return nil, refuse(host.InvalidInput, v, "%d arguments, at most %d are taken", n, maxArgs)
	}
	l := v.List()
	total := uint64(0)
	for i := range l.Len() {
		total += uint64(l.At(i).Size())
	}
	if total > maxArgsBytes {
		return nil, refuse(host.InvalidInput, v, "the arguments have %d bytes together, at most %d are taken", total, maxArgsBytes)
	}
	out := make([]string, l.Len())
	for i := range out {
		out[i] = l.At(i).Text()
	}
	return out, nil
}

func liftEnv(v abi.View) ([]host.EnvVar, error) {
	if n := v.Size(); n > maxEnv {
		return nil, refuse(host.TooLarge, v, "%d variables, at most %d are taken", n, maxEnv)
	}
	l := v.List()
	out := make([]host.EnvVar, l.Len())
	for i := range out {
		out[i] = host.EnvVar{Key: l.At(i).Field("key").Text(), Value: l.At(i).Field("value").Text()}
	}
	return out, nil
}

// refuse answers a list that is too long. A list that claims more than the
// memory holds is malformed first of all, and traps.
func refuse(code host.Code, list abi.View, format string, args ...any) error {
	list.List()
	return &host.Error{Code: code, Detail: fmt.Sprintf(format, args...)}
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
