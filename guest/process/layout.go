package process

import "github.com/astrid-os/processledger/guest/internal/mem"

// Sizes of the records of astrid:process/host@1.0.0, in bytes.
const (
	requestSize = 176
	varSize     = 16
	stringSize  = 8
)

// lower lays the request out.
func (r Request) lower() *mem.Block {
	k := mem.NewBlock(requestSize)
	k.Text(0, r.Cmd)
	args := k.List(8, len(r.Args), stringSize)
	for i, a := range r.Args {
		args.Text(uint32(stringSize*i), a)
	}
	if r.Stdin != nil {
		k.U8(16, 1)
		k.Bytes(20, r.Stdin)
	}
	env := k.List(28, len(r.Env), varSize)
	for i, v := range r.Env {
		env.Text(uint32(varSize*i), v.Key)
		env.Text(uint32(varSize*i+stringSize), v.Value)
	}
	k.MaybeText(36, r.Dir)
	r.Limits.lower(k)
	return k
}

// lower lays the limits out: an option at 48, its record at 56.
func (l *Limits) lower(k *mem.Block) {
	if l == nil {
		return
	}
	k.U8(48, 1)
	k.MaybeU64(56, l.MemoryBytes)
	k.MaybeU64(72, l.CPUSeconds)
	k.MaybeU32(88, l.Processes)
	k.MaybeU32(96, l.OpenFiles)
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
