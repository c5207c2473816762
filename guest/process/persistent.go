package process

import (
	"runtime"
	"time"
	"unicode/utf8"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// ID names a persistent process. It is a secret of its capsule and principal:
// whoever else uses it gets ErrNoSuchProcess. It may be kept anywhere that the
// capsule trusts; [List] gives it back.
type ID string

// List returns the persistent processes of this capsule and principal whose
// label contains a text, ended ones too until they are released. Empty: all.
func List(label string) ([]Info, error) {
	if err := valid("the label", label); err != nil {
		return nil, err
	}
	var some uint32
	if label != "" {
		some = 1
	}
	v, err := call(16, 4, func(ret uint32) { rawList(some, label, ret) })
	if err != nil {
		return nil, err
	}
	return liftInfos(v, 4), nil
}

// StatusMany returns what the host knows of several processes; ids that it does
// not know are not among them.
func StatusMany(ids ...ID) ([]Info, error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	if err := valid("an id", texts...); err != nil {
		return nil, err
	}
	if !mem.Inside {
		return nil, ErrOutside
	}
	k := mem.NewBlock(textSize)
	lowerTexts(k, 0, texts)
	defer runtime.KeepAlive(k)
	list := k.View().U32(0)
	v, err := call(16, 4, func(ret uint32) { rawStatusMany(list, uint32(len(ids)), ret) })
	if err != nil {
		return nil, err
	}
	return liftInfos(v, 4), nil
}

// Attach returns a handle of the process. Dropping it leaves the process alone.
func (id ID) Attach() (*Handle, error) {
	v, err := id.call(16, 4, func(ret uint32) { rawAttach(string(id), ret) })
	if err != nil {
		return nil, err
	}
	return &Handle{index: v.U32(4), attached: true}, nil
}

// Status returns what the host knows of the process.
func (id ID) Status() (Info, error) {
	v, err := id.call(136, 8, func(ret uint32) { rawStatus(string(id), ret) })
	if err != nil {
		return Info{}, err
	}
	return liftInfo(v[8:]), nil
}

// ReadLogs returns what the process wrote since the last drain, whoever drained
// it. It does not block. [ID.ReadSince] and [ID.Tail] leave the output there.
func (id ID) ReadLogs() (Logs, error) {
	v, err := id.call(44, 4, func(ret uint32) { rawReadLogsByID(string(id), ret) })
	if err != nil {
		return Logs{}, err
	}
	return liftLogs(v, 4), nil
}

// Signal sends a signal to the process.
func (id ID) Signal(s Signal) error {
	return id.act(func(ret uint32) { rawSignal(string(id), uint32(s), ret) })
}

// Wait blocks until the process has ended. It does not release it.
func (id ID) Wait() (Exit, error) { return waitLong(id.WaitFor) }

// WaitFor is Wait with a bound, rounded up to milliseconds; then the error is
// ErrWaitTimeout.
func (id ID) WaitFor(d time.Duration) (Exit, error) {
	ms := milliseconds(d)
	v, err := id.call(20, 4, func(ret uint32) { rawWait(string(id), ms, ret) })
	if err != nil {
		return Exit{}, err
	}
	return liftExit(v, 4), nil
}

// Stop ends the process: TERM, and KILL 5 s later. Then the id and what it
// wrote are gone.
func (id ID) Stop() (Exit, error) { return id.stop(0, 0) }

// StopWithin is Stop with another time between TERM and KILL, at most 30 s.
func (id ID) StopWithin(grace time.Duration) (Exit, error) { return id.stop(1, milliseconds(grace)) }

func (id ID) stop(some uint32, ms uint64) (Exit, error) {
	v, err := id.call(20, 4, func(ret uint32) { rawStop(string(id), some, ms, ret) })
	if err != nil {
		return Exit{}, err
	}
	return liftExit(v, 4), nil
}

// Release lets the host forget a process that has ended. One that runs is
// ErrInvalid. An id that is not known is no error.
func (id ID) Release() error {
	if !utf8.ValidString(string(id)) {
		return nil
	}
	return id.act(func(ret uint32) { rawRelease(string(id), ret) })
}

// Watch makes the host publish on the bus what happens to the process; see
// [EventTopic]. suffix ends the topics, the id itself if it is empty. Watching
// again is no error.
func (id ID) Watch(suffix string) error {
	if err := valid("the suffix", suffix); err != nil {
		return err
	}
	var some uint32
	if suffix != "" {
		some = 1
	}
	return id.act(func(ret uint32) { rawWatch(string(id), some, suffix, ret) })
}

// Unwatch ends what Watch began. Without that it is no error.
func (id ID) Unwatch() error {
	return id.act(func(ret uint32) { rawUnwatch(string(id), ret) })
}

// call is the function of the same name. An id that is not UTF-8 is of no
// process; the host would trap the capsule for it.
func (id ID) call(size int, at uint32, raw func(ret uint32)) (mem.View, error) {
	if valid("", string(id)) != nil {
		return nil, ErrNoSuchProcess
	}
	return call(size, at, raw)
}

// act is call for a result that holds nothing.
func (id ID) act(raw func(ret uint32)) error {
	_, err := id.call(16, 4, raw)
	return err
}
