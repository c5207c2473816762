package bind

import (
	"fmt"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/ledger/event"
)

// What is beyond the bounds of a request (host.MaxArgs and its like) is not
// copied: that would cost the daemon many times what it costs the guest. These
// are the bounds beside those of the process host, in bytes.
const (
	maxEnvKey = 4 << 10
	maxPath   = 4 << 10 // of a directory or a file

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
	l.r.Cmd = l.text(v.Field("cmd"), host.MaxCommandBytes, host.InvalidInput, "command")
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
	total, room := list.Total(), host.MaxArgsBytes
	switch n := list.Len(); {
	case n > host.MaxArgs:
		l.refuse(host.InvalidInput, "%d arguments, at most %d are taken", n, host.MaxArgs)
	case total > host.MaxArgsBytes:
		l.refuse(host.InvalidInput, "the arguments have %d bytes together, at most %d are taken", total, host.MaxArgsBytes)
	}
	if list.Len() > host.MaxArgs || total > host.MaxArgsBytes {
		u := l.unread()
		u.ArgsCount, u.ArgsBytes, room = uint32(list.Len()), total, keptArgs
	}
	l.r.Args = make([]string, 0, min(list.Len(), host.MaxArgs))
	for i := 0; i < min(list.Len(), host.MaxArgs) && room >= 0; i++ {
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
	if !fits(of, host.MaxStdinBytes) {
		l.unread().StdinBytes = uint64(of.Size())
		l.refuse(host.TooLarge, "stdin has %d bytes, at most %d are taken", of.Size(), host.MaxStdinBytes)
		return
	}
	l.r.Stdin = of.Bytes()
}

// env reads the variables; of too many, the names of the first.
func (l *requestLifter) env(v abi.View) {
	list := v.List()
	if list.Len() > host.MaxEnvEntries {
		l.refuse(host.TooLarge, "%d variables, at most %d are taken", list.Len(), host.MaxEnvEntries)
	}
	l.r.Env = make([]host.EnvVar, min(list.Len(), host.MaxEnvEntries))
	for i := range l.r.Env {
		e := &l.r.Env[i]
		e.Key = l.text(list.At(i).Field("key"), maxEnvKey, host.InvalidInput, "name of a variable")
		if list.Len() <= host.MaxEnvEntries {
			e.Value = l.text(list.At(i).Field("value"), host.MaxEnvValueBytes, host.TooLarge, "value of a variable")
		}
	}
}

// files reads the injected files: all, or none where they are beyond a bound.
func (l *requestLifter) files(v abi.View) {
	list, total := v.List(), uint64(0)
	if list.Len() > host.MaxFiles {
		l.refuse(host.TooLarge, "%d injected files, at most %d are taken", list.Len(), host.MaxFiles)
		return
	}
	for i := range list.Len() {
		content := list.At(i).Field("content")
		if !fits(content, host.MaxFileBytes) {
			l.refuse(host.TooLarge, "injected file %d has %d bytes, at most %d are taken", i+1, content.Size(), host.MaxFileBytes)
			return
		}
		total += uint64(content.Size())
	}
	if total > host.MaxFilesBytes {
		l.refuse(host.TooLarge, "the injected files have %d bytes together, at most %d are taken", total, host.MaxFilesBytes)
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
