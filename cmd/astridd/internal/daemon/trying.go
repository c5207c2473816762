package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

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

// tryingBound is how long that may take: a hundred times what the largest
// newest segment takes on a slow disk.
const tryingBound = 5 * time.Minute

// trying leaves the mark, after having had the ledger read by another process if
// there was one. done takes it away.
//
// A crash before done leaves the mark, and costs the next start that process.
// It is not synced: after a power failure an opening is tried once more.
func (d *Daemon) trying() (done func(), err error) {
	mark := filepath.Join(d.cfg.Data, "opening-ledger")
	if _, err := os.Lstat(mark); err == nil {
		d.log.Warn("an earlier opening of the ledger did not come to its end; it is read by another process first")
		if err := tryLedger(d.ledgerDir()); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		d.log.Warn("the opening of the ledger cannot be marked", "error", err) // on a full disk it is opened all the same
	}
	return func() { _ = os.Remove(mark) }, nil
}

// tryLedger has another process read the ledger. What that one finds, this one
// will find; the error is that it died.
func tryLedger(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), tryingBound)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "--"+FlagTryLedger, dir)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w: reading it did not end within %s", errCannotBeRead, tryingBound)
	case errors.As(err, &exit):
		said, _, _ := bytes.Cut(out, []byte("\n"))
		return fmt.Errorf("%w: the process that read it died (%v): %.300s", errCannotBeRead, exit, said)
	}
	return err
}

// TryLedger reads the ledger in dir as an opening does. Only dying of it says
// something: whatever is wrong besides, whoever opens it finds as well.
func TryLedger(dir string) { _ = projector.Try(dir) }
