package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cleanup leaves nothing behind: no process and no file, whatever the demo was
// doing. It is not stopped by what stopped the demo.
//
// A daemon that runs is stopped in order, which ends the programs. Where none
// runs (the demo was interrupted after it had killed it) the shims and
// programs still live; they are found by their executable or working directory
// inside the demo's directory, which no other process has.
func (s *site) cleanup() error {
	err := s.stop(30 * time.Second)
	s.client.Close()
	return errors.Join(err, sweep(s.dir), os.RemoveAll(s.dir))
}

// sweep ends the processes that run from dir. It looks again until it finds
// none, since a program may have forked meanwhile.
func sweep(dir string) error {
	for deadline := time.Now().Add(10 * time.Second); ; {
		pids := processesIn(dir)
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v still run from %s", pids, dir)
		}
		for _, pid := range pids {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill() // gone already is as good
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// processesIn lists the processes whose executable or working directory is
// inside dir. Zombies have neither.
func processesIn(dir string) (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		for _, link := range []string{"exe", "cwd"} {
			target, err := os.Readlink(filepath.Join("/proc", e.Name(), link))
			if err == nil && strings.HasPrefix(target, dir+"/") {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// waitFor polls cond until it holds, ctx ends or the patience is over.
func waitFor(ctx context.Context, what string, patience time.Duration, cond func() (bool, error)) error {
	deadline := time.Now().Add(patience)
	for {
		ok, err := cond()
		if err != nil || ok {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: still not so after %s", what, patience)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
