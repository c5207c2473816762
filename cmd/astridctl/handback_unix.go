//go:build unix

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// handBack gives what root has made in a directory, under these names, to whom
// the directory belongs: a daemon that runs as another user could neither read it
// nor lock it. It leaves the directory by no link, whatever that user may put
// there meanwhile. A crash before it leaves files of root's, which the next run
// of the verb hands back.
func handBack(dir string, names ...string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	for _, name := range names {
		err := fs.WalkDir(root.FS(), name, func(path string, d fs.DirEntry, err error) error {
			if err == nil {
				err = handOver(root, path, d, owner)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("give what was made to user %d: %w", owner.Uid, err)
		}
	}
	return nil
}

// handOver gives one file of root's to its new owner.
func handOver(root *os.Root, path string, d fs.DirEntry, owner *syscall.Stat_t) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	if now, ok := info.Sys().(*syscall.Stat_t); !ok || now.Uid != 0 {
		return nil
	}
	return root.Lchown(path, int(owner.Uid), int(owner.Gid))
}
