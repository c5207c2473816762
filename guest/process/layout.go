package process

import (
	"time"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// Sizes of the records of astrid:process/host@1.1.0, in bytes.
const (
	requestSize = 184
	textSize    = 8
	varSize     = 16
	fileSize    = 20
	infoSize    = 128
)

// lower lays the request out.
func (r *Request) lower() *mem.Block {
	k := mem.NewBlock(requestSize)
	k.Text(0, r.Cmd)
	lowerTexts(k, 8, r.Args)
	if r.Stdin != nil {
		k.U8(16, 1)
		k.Bytes(20, r.Stdin)
	}
	env := k.List(28, len(r.Env), varSize)
	for i, v := range r.Env {
		env.Text(uint32(varSize*i), v.Key)
		env.Text(uint32(varSize*i+textSize), v.Value)
	}
	k.MaybeText(36, r.Dir)
	r.Limits.lower(k, 48)
	lowerFiles(k, 104, r.Files)
	k.MaybeText(112, r.Label)
	if r.KeepStdinOpen {
		k.U8(124, 1)
		k.U8(125, 1)
	}
	if r.Overflow != DropOldest {
		k.U8(126, 1)
		k.U8(127, uint8(r.Overflow))
	}
	k.MaybeU32(128, r.RingBytes)
	k.MaybeU64(136, milliseconds(r.Lifetime))
	k.MaybeU64(152, milliseconds(r.Idle))
	k.MaybeU64(168, milliseconds(r.Retention))
	return k
}

func lowerTexts(k *mem.Block, at uint32, texts []string) {
	list := k.List(at, len(texts), textSize)
	for i, s := range texts {
		list.Text(uint32(textSize*i), s)
	}
}

func lowerFiles(k *mem.Block, at uint32, files []File) {
	list := k.List(at, len(files), fileSize)
	for i, f := range files {
		at := uint32(fileSize * i)
		list.Bytes(at, f.Content)
		if f.Path == "" {
			list.Text(at+12, f.Env)
		} else {
			list.U8(at+8, 1)
			list.Text(at+12, f.Path)
		}
	}
}

// lower lays the limits out: an option at an offset, its record 8 further.
func (l *Limits) lower(k *mem.Block, at uint32) {
	if l == nil {
		return
	}
	k.U8(at, 1)
	k.MaybeU64(at+8, l.MemoryBytes)
	k.MaybeU64(at+24, l.CPUSeconds)
	k.MaybeU32(at+40, l.Processes)
	k.MaybeU32(at+48, l.OpenFiles)
}

// liftExit reads an exit-info: two optional numbers.
func liftExit(v mem.View, at uint32) Exit {
	number := func(at uint32) *int32 {
		if !v.Bool(at) {
			return nil
		}
		n := int32(v.U32(at + 4))
		return &n
	}
	return Exit{Code: number(at), Signal: number(at + 8)}
}

// liftMaybeExit reads an option<exit-info>.
func liftMaybeExit(v mem.View, at uint32) *Exit {
	if !v.Bool(at) {
		return nil
	}
	e := liftExit(v, at+4)
	return &e
}

// liftResult reads a process-result.
func liftResult(v mem.View, at uint32) *Result {
	return &Result{Stdout: v.Text(at), Stderr: v.Text(at + 8), Exit: liftExit(v, at+16)}
}

// liftLogs reads a read-logs-result.
func liftLogs(v mem.View, at uint32) Logs {
	return Logs{Stdout: v.Text(at), Stderr: v.Text(at + 8), Running: v.Bool(at + 16), Exit: liftMaybeExit(v, at+20)}
}

// liftKilled reads a kill-result.
func liftKilled(v mem.View, at uint32) Killed {
	return Killed{Killed: v.Bool(at), Exit: liftMaybeExit(v, at+4), Stdout: v.Text(at + 24), Stderr: v.Text(at + 32)}
}

// liftInfo reads a process-info.
func liftInfo(v mem.View) Info {
	i := Info{ID: ID(v.Text(0)), Label: v.Text(8), Command: v.Text(16), Phase: Phase(v.U8(32)), Exit: liftMaybeExit(v, 36)}
	if pid := v.MaybeU32(24); pid != nil {
		i.OSPid = *pid
	}
	i.Age = time.Duration(v.U64(56)) * time.Millisecond
	i.Idle = time.Duration(v.U64(64)) * time.Millisecond
	i.Buffered, i.Dropped, i.StdinOpen = v.U64(72), v.U64(80), v.Bool(88)
	if ms := v.MaybeU64(96); ms != nil {
		cpu := time.Duration(*ms) * time.Millisecond
		i.CPU = &cpu
	}
	i.MemoryPeak = v.MaybeU64(112)
	return i
}

// liftInfos reads a list<process-info>.
func liftInfos(v mem.View, at uint32) []Info {
	var all []Info
	for _, e := range v.List(at, infoSize) {
		all = append(all, liftInfo(e))
	}
	return all
}

// liftChunk reads a log-chunk.
func liftChunk(v mem.View, at uint32) Chunk {
	c := Chunk{Data: v.Bytes(at)}
	if token, some := v.MaybeText(at + 8); some {
		c.Next = Cursor(token)
	}
	c.Dropped, c.EOF = v.U64(at+24), v.Bool(at+32)
	return c
}
