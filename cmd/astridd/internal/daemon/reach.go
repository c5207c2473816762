package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// mostLinks is how many symbolic links the kernel follows in a path.
const mostLinks = 40

// outOfReach tells why a program could be made another one by somebody who is
// neither root nor the daemon's user: the file, or a directory or link on the way
// to it, is another's or can be written to by others. An operator who may restart
// the daemon and not choose its program must not choose it in this way.
func outOfReach(path string) error {
	for range mostLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return err
		}
		for d := dir; ; d = filepath.Dir(d) {
			if err := notOthers(d); err != nil {
				return err
			}
			if d == filepath.Dir(d) {
				break
			}
		}
		path = filepath.Join(dir, filepath.Base(path))
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if info.Mode()&os.ModeSymlink == 0 {
			return notOthers(path)
		}
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		if path = to; !filepath.IsAbs(to) {
			path = filepath.Join(dir, to)
		}
	}
	return fmt.Errorf("%s: too many links", path)
}

// notOthers tells who besides root and the daemon's user may change a file, or
// replace what is in a directory. In one that is sticky only owners may.
func notOthers(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d", path, st.Uid)
	}
	if info.Mode().Perm()&0o022 != 0 && !(info.IsDir() && info.Mode()&os.ModeSticky != 0) {
		return fmt.Errorf("%s can be written to by others: its mode is %04o", path, info.Mode().Perm())
	}
	return nil
}
