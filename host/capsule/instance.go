package capsule

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/host/bind"
)

// hookResult is what a guest's hook returns a pointer to.
var hookResult = abi.Record("capsule-result",
	abi.Field{Name: "action", Type: abi.String},
	abi.Field{Name: "data", Type: abi.Option(abi.String)})

// Bounds of an answer, in bytes. They are looked at before it is copied: what a
// guest may make its own memory hold, the daemon need not hold twice.
const (
	maxAction = 256
	maxData   = 8 << 20
)

// instance is one guest. It belongs to whoever holds the turn of its slot.
type instance struct {
	id     string
	bound  *bind.Instance
	stdout *output
	stderr *output

	// hard is the context of the call that runs, by which a sleeping guest is
	// woken.
	hard context.Context

	// What follows is nil until the guest is instantiated, which runs its code.
	module api.Module
	guest  *abi.Guest
	hook   api.Function
	post   api.Function
}

// newInstance returns an instance whose guest is not instantiated yet; what it
// prints goes to log.
func newInstance(id string, services bind.Services, log *slog.Logger) *instance {
	return &instance{
		id: id, bound: bind.NewInstance(services),
		stdout: newOutput(log, slog.LevelInfo, "stdout"),
		stderr: newOutput(log, slog.LevelWarn, "stderr"),
	}
}

// begin prepares an invocation: on whose behalf it is, what ends it softly, and
// what interrupts it. It returns the context to call the guest with.
func (in *instance) begin(hard, soft context.Context, c host.Caller) context.Context {
	in.bound.Begin(soft, c)
	in.hard = in.bound.With(hard)
	return in.hard
}

// end says that the invocation is over.
func (in *instance) end() {
	in.bound.End()
	in.stdout.next()
	in.stderr.next()
}

// start instantiates the guest: its _initialize runs. It has clocks, random
// numbers and the two output streams, and no files, arguments, variables or
// sockets.
func (in *instance) start(ctx context.Context, r wazero.Runtime, c *Capsule) error {
	m, err := r.InstantiateModule(ctx, c.module, in.config().
		WithStartFunctions("_initialize").
		WithStdout(in.stdout).
		WithStderr(in.stderr))
	if err != nil {
		return err
	}
	in.module = m
	in.hook, in.post = m.ExportedFunction(hookExport), m.ExportedFunction(postExport)
	in.guest, err = in.bound.Guest(m)
	return err
}

// config is what all guests have: clocks and random numbers.
func (in *instance) config() wazero.ModuleConfig {
	return wazero.NewModuleConfig().
		WithName("").
		WithStartFunctions().
		WithSysWalltime().
		WithSysNanotime().
		WithNanosleep(in.sleep).
		WithRandSource(rand.Reader)
}

// sleep is the guest's sleep. A hard cancel ends it: nothing else could, while
// the guest is in a host function.
func (in *instance) sleep(nano int64) {
	t := time.NewTimer(time.Duration(nano))
	defer t.Stop()
	select {
	case <-t.C:
	case <-in.hard.Done():
	}
}

// do does a job that the instance has the turn for; the answer of an export
// without parameters is empty.
func (in *instance) do(ctx context.Context, j job) (a Answer, after, err error) {
	if j.export == "" {
		return in.call(ctx, j.Action, j.Payload)
	}
	_, err = in.module.ExportedFunction(j.export).Call(ctx)
	return a, nil, err
}

// call calls the guest's hook and lifts its answer. After an error the instance
// is of no more use. after is not nil if it went wrong only when it had
// answered; then too.
func (in *instance) call(ctx context.Context, action string, payload []byte) (a Answer, after, err error) {
	defer abi.Catch(&err)
	lower := abi.NewLowerer(ctx, in.guest)
	name, data := lower.PutText(action), lower.Put(payload)
	out, err := in.hook.Call(ctx, uint64(name), uint64(len(action)), uint64(data), uint64(len(payload)))
	if err != nil {
		return a, nil, err
	}
	lift := abi.NewLifter(in.guest)
	result := lift.At(uint32(out[0]), hookResult)
	if a, err = liftAnswer(result); err != nil {
		return Answer{}, nil, err
	}
	return a, in.freed(ctx, out[0]), nil
}

// liftAnswer reads the hook's result. The error says what of it is too long.
func liftAnswer(result abi.View) (a Answer, err error) {
	action := result.Field("action")
	if n := action.Size(); n > maxAction {
		return a, fmt.Errorf("the action of its answer has %d bytes; at most %d are taken", n, maxAction)
	}
	a.Action = action.Text()
	if data, ok := result.Field("data").Option(); ok {
		if n := data.Size(); n > maxData {
			return a, fmt.Errorf("the data of its answer has %d bytes; at most %d are taken", n, maxData)
		}
		a.Data, a.HasData = []byte(data.Text()), true
	}
	return a, nil
}

// freed lets the guest free its result.
func (in *instance) freed(ctx context.Context, result uint64) error {
	if in.post == nil {
		return nil
	}
	return in.guest.Alone(func() error {
		_, err := in.post.Call(ctx, result)
		return err
	})
}

// close ends the guest; a call of it must not be under way.
func (in *instance) close(ctx context.Context) {
	in.bound.Close()
	if in.module != nil {
		_ = in.module.Close(ctx)
	}
}

// reason says for people why a call failed: without wazero's stack trace, and
// with the end of what the guest printed.
func (in *instance) reason(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\nwasm stack trace:")
	text = strings.TrimSuffix(text, " (recovered by wazero)")
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		text = fmt.Sprintf("the guest exited with code %d", exit.ExitCode())
	}
	if last := in.stderr.last(); last != "" {
		text += "; it had printed: " + last
	}
	return text
}
