//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/ui"
)

// lockData takes the lock of a data directory, as a daemon does for its life.
func lockData(data string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(data, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		var holder struct {
			PID int `json:"pid"`
		}
		_ = json.NewDecoder(io.NewSectionReader(f, 0, 4096)).Decode(&holder) // for people
		err = ui.Hint(fmt.Errorf("astridd, pid %d, runs on %s", holder.PID, data), "stop the daemon first: what runs persistently runs on meanwhile")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
