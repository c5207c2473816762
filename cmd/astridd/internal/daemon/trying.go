package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/projector"
)

// A damaged page is an error nearly always: faults on the mapping and panics of
// bbolt are caught where pages are read. What cannot be caught ends the process:
// a tree of pages that leads back into itself runs the stack over, and a length
// that makes no sense asks for all memory there is. So that no daemon dies of its
// ledger twice, the opening leaves a mark, and where one is found, an earlier
// opening did not come to its end, for whatever reason: then the ledger is read
// in a process of its own first.

// errCannotBeRead: the process that read the ledger died of it, or did not come
// to an end.
var errCannotBeRead = errors.New("the ledger cannot be read")

// FlagTryLedger is the option of astridd by which it reads a ledger and leaves.
// It is not for people.
const FlagTryLedger = "try-ledger"

// Bounds of an opening, by whichever process.
const (
	// tryingBound is how long it may take: a hundred times what the largest
	// newest segment takes on a slow disk.
	tryingBound = 5 * time.Minute

	// tryingMemory is how much more memory than at its beginning a process may
	// use, in bytes, beside tryingShare times the bytes of the newest segment,
	// which holds the state that it opens with. It is for what the daemon does
	// besides, and far from what an opening needs.
	tryingMemory = 2 << 30
	tryingShare  = 8

	// tryingPause is how often that is looked at. What bbolt takes in that time
	// while it goes round in a loop is some ten megabytes.
	tryingPause = 5 * time.Millisecond
)

// trying leaves the mark, after having had the ledger read by another process if
// there was one. done takes it away.
//
// A crash before done leaves the mark, and costs the next start that process.
// It is not synced: after a power failure an opening is tried once more.
//
// An opening that goes beyond its bounds ends this process, with the mark left:
// there is no other way to end it, and the machine's memory is not ours to use up.
func (d *Daemon) trying(ctx context.Context) (done func(), err error) {
	mark := filepath.Join(d.cfg.Data, "opening-ledger")
	if _, err := os.Lstat(mark); err == nil {
		d.log.Warn("an earlier opening of the ledger did not come to its end; it is read by another process first")
		if err := tryLedger(ctx, d.ledgerDir()); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		d.log.Warn("the opening of the ledger cannot be marked", "error", err) // on a full disk it is opened all the same
	}
	within := bound(tryingBound, mostMemory(d.ledgerDir()), func(why error) {
		d.log.Error("the ledger cannot be opened; the next start reads it in another process first", "error", why)
		os.Exit(1)
	})
	return func() { within(); _ = os.Remove(mark) }, nil
}

// mostMemory is how much memory an opening of the ledger in dir may take, bytes.
func mostMemory(dir string) uint64 {
	most := uint64(tryingMemory)
	if files, err := ledger.Segments(dir); err == nil && len(files) > 0 {
		if info, err := os.Stat(files[len(files)-1].Path); err == nil {
			most += tryingShare * uint64(info.Size())
		}
	}
	return most
}

// bound calls over, once, if what is done until the returned function is called
// takes longer than limit, or more than most bytes of memory.
func bound(limit time.Duration, most uint64, over func(why error)) (end func()) {
	stop := make(chan struct{})
	go func() {
		began, before := time.Now(), memory()
		for tick := time.NewTicker(tryingPause); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
			switch used := memory(); {
			case used > before+most:
				over(fmt.Errorf("%w: reading it takes more than %d MiB of memory", errCannotBeRead, most>>20))
				return
			case time.Since(began) > limit:
				over(fmt.Errorf("%w: reading it did not end within %s", errCannotBeRead, limit))
				return
			}
		}
	}()
	return sync.OnceFunc(func() { close(stop) })
}

// memory is what Go has of the system and has not given back, in bytes; files
// that are mapped do not count.
func memory() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

// tryLedger has another process read the ledger. What that one finds, this one
// will find; the error is that it died. The program is the one that runs, also
// where another lies at its path by now. If ctx ends nothing is known.
func tryLedger(ctx context.Context, dir string) error {
	limited, cancel := context.WithTimeout(ctx, tryingBound+time.Minute) // it bounds itself
	defer cancel()
	cmd := exec.CommandContext(limited, "/proc/self/exe", "--"+FlagTryLedger, dir)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return fmt.Errorf("%w: reading it did not end within %s", errCannotBeRead, tryingBound)
	case errors.As(err, &exit):
		said, _, _ := bytes.Cut(out, []byte("\n"))
		return fmt.Errorf("%w: the process that read it died (%v): %.300s", errCannotBeRead, exit, said)
	}
	return err
}

// TryLedger reads the ledger in dir as an opening does. Only dying of it says
// something: whatever is wrong besides, whoever opens it finds as well. Beyond the
// bounds of an opening it ends the process.
func TryLedger(dir string) {
	end := bound(tryingBound, mostMemory(dir), func(why error) {
		fmt.Fprintln(os.Stderr, why)
		os.Exit(1)
	})
	defer end()
	_ = projector.Try(dir)
}
