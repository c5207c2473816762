package bind

import (
	"fmt"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/ledger/event"
)

// The bounds of a request. The process host refuses beyond them; here they keep
// what is beyond from being copied, which would cost the daemon many times what
// it costs the guest. Sizes are in bytes.
const (
	maxCommand   = 4 << 10
	maxArgs      = 4096
	maxArgsBytes = 1 << 20 // all arguments together
	maxStdin     = 4 << 20
	maxEnv       = 256
	maxEnvKey    = 4 << 10
	maxEnvValue  = 64 << 10
	maxPath      = 4 << 10 // of a directory or a file
	maxFiles     = 128
	maxFile      = 8 << 20
	maxFileBytes = 16 << 20 // all injected files together

	// maxLabel is far more than the host keeps of a label, since it leaves out
	// control characters first.
	maxLabel = 64 << 10

	// keptArgs is how much of too long a list of arguments the host is told:
	// more than an event can hold.
	keptArgs = 64 << 10
)

// requestLifter reads a spawn-request. What is beyond a bound is not read but
// noted: the host is to record the refusal.
type requestLifter struct{ r host.Request }

// liftRequest reads a spawn-request of any revision.
func liftRequest(v abi.View) host.Request {
	var l requestLifter
	l.r.Cmd = l.text(v.Field("cmd"), maxCommand, host.InvalidInput, "command")
	l.args(v.Field("args"))
	l.stdin(v.Field("stdin"))
	l.env(v.Field("env"))
	l.r.Cwd = optional(v.Field("cwd"), func(v abi.View) string {
		return l.text(v, maxPath, host.InvalidInput, "directory")
	})
	if v.Has("limits") {
		l.r.Limits = liftLimits(v.Field("limits"))
	}
	if v.Has("file-injections") {
		l.files(v.Field("file-injections"))
	}
	if v.Has("label") {
		liftPersistent(&l.r, v)
	}
	return l.r
}

// liftPersistent reads the fields that count for the persistent tier.
func liftPersistent(r *host.Request, v abi.View) {
	r.Label = optional(v.Field("label"), func(v abi.View) string { return v.Clip(maxLabel) })
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

// refuse notes why the request is to be refused; the first reason stays.
func (l *requestLifter) refuse(code host.Code, format string, args ...any) {
	u := l.unread()
	if u.Refusal == nil {
		u.Refusal = &host.Error{Code: code, Detail: fmt.Sprintf(format, args...)}
	}
}

func (l *requestLifter) unread() *host.Unread {
	if l.r.Unread == nil {
		l.r.Unread = &host.Unread{}
	}
	return l.r.Unread
}

// text reads a string of at most so many bytes, or the start of a longer one.
func (l *requestLifter) text(v abi.View, most uint32, code host.Code, what string) string {
	if n := v.Size(); n > most {
		l.refuse(code, "the %s has %d bytes, at most %d are taken", what, n, most)
	}
	return v.Clip(int(most))
}

// fits tells whether a list<u8> has at most so many bytes. One that claims more
// than the memory holds is malformed first of all, and traps.
func fits(v abi.View, most uint32) bool {
	if v.Size() <= most {
		return true
	}
	v.List()
	return false
}

// textFits is fits for a string.
func textFits(v abi.View, most uint32) bool {
	if v.Size() <= most {
		return true
	}
	v.Clip(0)
	return false
}

func (l *requestLifter) args(v abi.View) {
	list := v.List()
	total, room := list.Total(), maxArgsBytes
	switch n := list.Len(); {
	case n > maxArgs:
		l.refuse(host.InvalidInput, "%d arguments, at most %d are taken", n, maxArgs)
	case total > maxArgsBytes:
		l.refuse(host.InvalidInput, "the arguments have %d bytes together, at most %d are taken", total, maxArgsBytes)
	}
	if list.Len() > maxArgs || total > maxArgsBytes {
		u := l.unread()
		u.ArgsCount, u.ArgsBytes, room = uint32(list.Len()), total, keptArgs
	}
	l.r.Args = make([]string, 0, min(list.Len(), maxArgs))
	for i := 0; i < min(list.Len(), maxArgs) && room >= 0; i++ {
		a := list.At(i).Clip(room)
		l.r.Args, room = append(l.r.Args, a), room-len(a)
	}
}

func (l *requestLifter) stdin(v abi.View) {
	of, ok := v.Option()
	if !ok {
		return
	}
	l.r.HasStdin = true
	if !fits(of, maxStdin) {
		l.unread().StdinBytes = uint64(of.Size())
		l.refuse(host.TooLarge, "stdin has %d bytes, at most %d are taken", of.Size(), maxStdin)
		return
	}
	l.r.Stdin = of.Bytes()
}

// env reads the variables; of too many, the names of the first.
func (l *requestLifter) env(v abi.View) {
	list := v.List()
	if list.Len() > maxEnv {
		l.refuse(host.TooLarge, "%d variables, at most %d are taken", list.Len(), maxEnv)
	}
	l.r.Env = make([]host.EnvVar, min(list.Len(), maxEnv))
	for i := range l.r.Env {
		e := &l.r.Env[i]
		e.Key = l.text(list.At(i).Field("key"), maxEnvKey, host.InvalidInput, "name of a variable")
		if list.Len() <= maxEnv {
			e.Value = l.text(list.At(i).Field("value"), maxEnvValue, host.TooLarge, "value of a variable")
		}
	}
}

// files reads the injected files: all, or none where they are beyond a bound.
func (l *requestLifter) files(v abi.View) {
	list, total := v.List(), uint64(0)
	if list.Len() > maxFiles {
		l.refuse(host.TooLarge, "%d injected files, at most %d are taken", list.Len(), maxFiles)
		return
	}
	for i := range list.Len() {
		content := list.At(i).Field("content")
		if !fits(content, maxFile) {
			l.refuse(host.TooLarge, "injected file %d has %d bytes, at most %d are taken", i+1, content.Size(), maxFile)
			return
		}
		total += uint64(content.Size())
	}
	if total > maxFileBytes {
		l.refuse(host.TooLarge, "the injected files have %d bytes together, at most %d are taken", total, maxFileBytes)
		return
	}
	for i := range list.Len() {
		l.r.Files = append(l.r.Files, l.file(list.At(i)))
	}
}

func (l *requestLifter) file(v abi.View) (f host.FileInjection) {
	f.Content = v.Field("content").Bytes()
	n, of := v.Field("placement").Case()
	if n == 0 {
		key := l.text(of, maxEnvKey, host.InvalidInput, "name of a variable")
		f.EnvKey = &key
		return f
	}
	path := l.text(of, maxPath, host.InvalidInput, "path of an injected file")
	f.Path = &path
	return f
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
