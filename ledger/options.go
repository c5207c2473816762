package ledger

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/astrid-os/processledger/ledger/event"
)

// Defaults of [Options].
const (
	// DefaultSegmentEvents is 256 k: a segment replays in a fifth of a second.
	DefaultSegmentEvents = 256 << 10

	// DefaultSegmentBytes is 256 MiB, so that a file of long events can still
	// be copied and hashed while others wait.
	DefaultSegmentBytes = 256 << 20

	// DefaultSnapshotEvents is 8 k: they replay in some 10 ms.
	DefaultSnapshotEvents = 8 << 10

	// DefaultReserve is 16 MiB: a process takes one or two kilobytes to be
	// ended and released, so that is enough for everything that can run.
	DefaultReserve = 16 << 20
)

// Options says how to open a ledger. Only Fold is required.
type Options struct {
	// Fold is the projection whose state opens each segment.
	Fold Fold

	// SegmentEvents is the number of events at which a segment is sealed and
	// the next begun; 0 means DefaultSegmentEvents. A batch is never split,
	// so a segment may hold somewhat more.
	SegmentEvents uint64

	// SegmentBytes is the same for the bytes in use in the file; 0 means
	// DefaultSegmentBytes.
	SegmentBytes int64

	// Reserve is how many bytes of the disk are kept for SubmitEnding; 0 means
	// DefaultReserve, less than 0 none, and no check of the disk either.
	Reserve int64

	// SnapshotEvents is after how many events the state is kept for the next
	// opening, if Fold is a [Snapshotter]; 0 means DefaultSnapshotEvents, less
	// than 0 never.
	SnapshotEvents int64

	// Clock is what time is read from; nil means the machine's.
	Clock Clock

	// Log gets what an operator should know; nil means nowhere.
	Log *slog.Logger

	// Around stands around each write that must not fail, "append", "seal" or
	// "create", in tests of what follows when it does; nil: nothing does. An
	// error of it is one of the write, which it may have done or not.
	Around func(step string, write func() error) error

	// freeBytes stands in for the question to the file system in tests.
	freeBytes func(dir string) (int64, error)
}

// withDefaults fills in what is not set.
func (o Options) withDefaults() (Options, error) {
	if o.Fold == nil {
		return o, errors.New("ledger: Options.Fold is missing")
	}
	if o.SegmentBytes < 0 {
		return o, fmt.Errorf("ledger: Options.SegmentBytes is %d", o.SegmentBytes)
	}
	setDefault(&o.SegmentEvents, DefaultSegmentEvents)
	setDefault(&o.SegmentBytes, DefaultSegmentBytes)
	setDefault(&o.SnapshotEvents, DefaultSnapshotEvents)
	setDefault(&o.Reserve, DefaultReserve)
	o.Reserve = max(o.Reserve, 0)
	if o.Clock == nil {
		o.Clock = machineClock{boot: bootID()}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Around == nil {
		o.Around = func(_ string, write func() error) error { return write() }
	}
	if o.freeBytes == nil {
		o.freeBytes = freeBytes
	}
	return o, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Clock is where times come from.
type Clock interface {
	// Now returns the wall clock in nanoseconds since 1970, and
	// CLOCK_BOOTTIME in nanoseconds, read together.
	Now() (wall, boottime int64)

	// BootID returns the machine's boot id, zero where there is none.
	BootID() [16]byte
}

// Fold is a state that events change, one after another. The ledger calls it
// from Open, and then from the committer goroutine only, never concurrently.
//
// A fold has two faces: what is committed, and a tip that is ahead of it by
// the batch in flight. Closures passed to Submit move the tip, and if one of
// them returns an error it has left the tip as it was. The rest is told here.
type Fold interface {
	// Restore sets the state to what Encode returned; nil: the empty state.
	Restore(opening []byte) error

	// Replay takes in the next event, at Open and Reopen.
	Replay(e *event.Event) error

	// Encode returns the canonical bytes of the committed state. It is called
	// with nothing in flight.
	Encode() []byte

	// Committed tells which events became durable, in order, before anybody
	// who waits for them is told. The slice is the callee's to keep.
	//
	// Events of the committer's own (segment.opened, clock.stepped) come here
	// without having passed a closure, alone and with nothing in flight: the
	// tip has to take them in here.
	Committed(es []*event.Event)

	// Discard sets the tip back to what is committed: the batch in flight
	// failed, or its last closure panicked or returned an event that cannot
	// be stored.
	Discard()
}

// Survivors is a Fold that wants to know what became of a commit that failed.
type Survivors interface {
	Fold

	// Survived tells at a Reopen, after the replay and before the next closure,
	// which events of the commit that failed are in the ledger all the same.
	// Whoever submitted them was told that it is unknown.
	Survived(es []*event.Event)
}

// Snapshotter is a Fold whose state can be kept between the openings of
// segments, so that an opening replays only what came after.
type Snapshotter interface {
	Fold

	// Freeze returns a function that returns the bytes of the state that is
	// committed now. That is called once, or never, by another goroutine, while
	// the state moves on; Freeze itself delays the next commit.
	Freeze() (encode func() []byte)

	// RestoreAt is Restore for such bytes, which have to be of the state after
	// the event seq. After an error the ledger calls it again with others, or
	// Restore.
	RestoreAt(state []byte, seq uint64) error

	// Rules names everything that a state depends on besides the events. A
	// snapshot that was made by other rules is not used.
	Rules() [32]byte
}
