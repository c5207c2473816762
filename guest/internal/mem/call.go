package mem

import "errors"

// ErrOutside is the error of every call where there is no host.
var ErrOutside = errors.New("guest: not running in a capsule")

// Call calls a host function that stores a result of size bytes where it is
// told to, and returns that memory; not in a capsule, nil.
func Call(size int, raw func(ret uint32)) View {
	if !Inside {
		return nil
	}
	k := NewBlock(size)
	Enter(func() { raw(k.base) })
	return k.View()
}
