package migrations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Layout 1, as step 1 makes it. What is in the directories is made by whoever
// uses them.
//
//	layout                        "1\n"
//	ledger/                       0750  segments/: the log, its auditors may enter
//	processes/                    0700  <ULID>/: one directory for each process
//	trash/                        0700  what is released and being deleted
//	workspaces/                   0700  <principal>/<capsule>/
//	cache/                        0700  compiled modules; may be deleted at any time
//	keys/                         0700  one key a purpose
//
// Beside them stand, made by the daemon, lock and control.sock.
var layout1 = []struct {
	name string
	mode fs.FileMode
}{
	{"ledger", 0o750},
	{"processes", 0o700},
	{"trash", 0o700},
	{"workspaces", 0o700},
	{"cache", 0o700},
	{"keys", 0o700},
}

// step1 makes layout 1 in an empty or new directory.
var step1 = step{
	to:      1,
	name:    "create layout 1",
	touches: func(string) ([]string, error) { return nil, nil },
	plan:    planLayout1,
	apply:   createLayout1,
}

func planLayout1(dir string) ([]string, error) {
	var plan []string
	for _, d := range layout1 {
		_, err := os.Lstat(filepath.Join(dir, d.name))
		if errors.Is(err, fs.ErrNotExist) {
			plan = append(plan, fmt.Sprintf("make %s/ (%04o)", d.name, d.mode))
		} else if err != nil {
			return nil, err
		}
	}
	return plan, nil
}

func createLayout1(_ context.Context, dir string) error {
	for _, d := range layout1 {
		path := filepath.Join(dir, d.name)
		if err := os.Mkdir(path, d.mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is in the way: %w", path, ErrForeign)
		}
		// The umask may have taken more away than layout 1 says.
		if err := os.Chmod(path, d.mode); err != nil {
			return err
		}
	}
	return nil
}
