package process

import "github.com/astrid-os/processledger/guest/internal/mem"

// Sizes of the records of astrid:process/host@1.0.0, in bytes.
const (
	requestSize = 176
	varSize     = 16
	stringSize  = 8
)

// size returns how many bytes the request takes with all that it points to.
func (r Request) size() int {
	n := requestSize + len(r.Cmd) + len(r.Stdin) + len(r.Dir) + stringSize*len(r.Args) + varSize*len(r.Env)
	for _, a := range r.Args {
		n += len(a)
	}
	for _, v := range r.Env {
		n += len(v.Key) + len(v.Value)
	}
	return n
}

// lower lays the request out in one block: the record, the two lists, and then
// the strings.
func (r Request) lower() *mem.Block {
	k := mem.NewBlock(r.size(), requestSize)
	args := k.Reserve(uint32(stringSize*len(r.Args)), 4)
	env := k.Reserve(uint32(varSize*len(r.Env)), 4)
	k.Text(0, r.Cmd)
	k.U32(8, k.Address()+args)
	k.U32(12, uint32(len(r.Args)))
	for i, a := range r.Args {
		k.Text(args+uint32(stringSize*i), a)
	}
	if r.Stdin != nil {
		k.U8(16, 1)
		k.Text(20, string(r.Stdin))
	}
	k.U32(28, k.Address()+env)
	k.U32(32, uint32(len(r.Env)))
	for i, v := range r.Env {
		k.Text(env+uint32(varSize*i), v.Key)
		k.Text(env+uint32(varSize*i+stringSize), v.Value)
	}
	if r.Dir != "" {
		k.U8(36, 1)
		k.Text(40, r.Dir)
	}
	r.Limits.lower(k)
	return k
}

// lower lays the limits out: an option at 48, its record at 56.
func (l *Limits) lower(k *mem.Block) {
	if l == nil {
		return
	}
	k.U8(48, 1)
	wide := func(at uint32, v uint64) {
		if v > 0 {
			k.U8(at, 1)
			k.U64(at+8, v)
		}
	}
	narrow := func(at uint32, v uint32) {
		if v > 0 {
			k.U8(at, 1)
			k.U32(at+4, v)
		}
	}
	wide(56, l.MemoryBytes)
	wide(72, l.CPUSeconds)
	narrow(88, l.Processes)
	narrow(96, l.OpenFiles)
}

// liftExit reads an exit-info: two optional numbers.
func liftExit(k *mem.Block, at uint32) Exit {
	number := func(at uint32) *int32 {
		if k.GetU8(at) == 0 {
			return nil
		}
		n := int32(k.GetU32(at + 4))
		return &n
	}
	return Exit{Code: number(at), Signal: number(at + 8)}
}

// liftMaybeExit reads an option<exit-info>.
func liftMaybeExit(k *mem.Block, at uint32) *Exit {
	if k.GetU8(at) == 0 {
		return nil
	}
	e := liftExit(k, at+4)
	return &e
}
