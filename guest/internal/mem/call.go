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

// Result is Call for a host function that returns a result<T, error-code>, whose
// cases stand at an offset. An error is lifted from there by liftError. Not in a
// capsule it returns ErrOutside.
func Result(size int, at uint32, raw func(ret uint32), liftError func(v View, at uint32) error) (View, error) {
	v := Call(size, raw)
	switch {
	case v == nil:
		return nil, ErrOutside
	case v.U8(0) == 0:
		return v, nil
	}
	return nil, liftError(v, at)
}
