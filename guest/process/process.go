package process

import (
	"runtime"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// Spawn runs a program to its end and returns what it wrote.
func Spawn(r Request) (*Result, error) {
	v, err := spawn(&r, 36, rawSpawn)
	if err != nil {
		return nil, err
	}
	return liftResult(v, 4), nil
}

// SpawnBackground starts a program. Drop the handle when it is not needed any
// more; that ends the program.
func SpawnBackground(r Request) (*Handle, error) {
	v, err := spawn(&r, 16, rawSpawnBackground)
	if err != nil {
		return nil, err
	}
	return &Handle{index: v.U32(4)}, nil
}

// SpawnPersistent starts a program that outlives this instance of the capsule,
// and the host's daemon: only Stop, its timers and its own end end it. The
// manifest must have allow_persistent.
func SpawnPersistent(r Request) (ID, error) {
	v, err := spawn(&r, 16, rawSpawnPersistent)
	if err != nil {
		return "", err
	}
	return ID(v.Text(4)), nil
}

func spawn(r *Request, size int, raw func(req, ret uint32)) (mem.View, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if !mem.Inside {
		return nil, ErrOutside
	}
	req := r.lower()
	defer runtime.KeepAlive(req)
	return call(size, 4, func(ret uint32) { raw(req.Address(), ret) })
}
