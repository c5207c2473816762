//go:build linux

package shim

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A file cannot be mounted where none is, and nothing may be made on the
// machine's own disks. So the directory in which a file shall appear is covered
// by a file system in memory that shows what the directory holds, each entry
// mounted on a name of its own, and one entry more. The same is done with each
// directory on the way that a program of the capsule could change: what it
// renames or deletes outside is not what this namespace sees.
//
// A cover is read-only. That is what keeps the program from putting another
// file in the place of the injected one; it also keeps it from making files of
// its own in that directory (not in those below it). Only a shared directory,
// as /tmp, stays writable: what the program makes there is seen by it alone and
// ends with it.

// maxCovered is how many entries all covered directories may have together.
// Each costs a mount, and a mount some microseconds.
const maxCovered = 16 << 10

// cover builds a layout in this namespace.
type cover struct {
	plan   *layout
	blob   int     // contents of the files, one after another
	starts []int64 // where each begins in blob
	files  []InjectedFile
	places map[int]int // O_PATH descriptors of where the files shall appear, by index
	covers []int       // roots of the file systems to freeze in the end
	spare  int         // entries that may still be covered
}

// inject lays files before the program: it must run before the thread's
// capabilities are dropped, and what it mounts lives in this namespace only. A
// crash anywhere in it leaves nothing, since the namespace ends with the shim.
func inject(files []InjectedFile, g Ground, blob int) error {
	plan, err := resolve(files, g)
	defer plan.close()
	if err != nil {
		return err
	}
	c := &cover{plan: plan, blob: blob, files: files, places: map[int]int{}, spare: maxCovered}
	for i, at := 0, int64(0); i < len(files); i++ {
		c.starts = append(c.starts, at)
		at += int64(files[i].Size)
	}
	defer c.close()
	return c.build()
}

func (c *cover) close() {
	for _, fd := range c.places {
		unix.Close(fd)
	}
	CloseAll(c.covers)
}

// build covers the root first and each directory after the one it is in: from
// then on nobody outside can change the way to it.
func (c *cover) build() error {
	root, err := c.lay(c.plan.root, c.plan.root.fd)
	if err != nil {
		return err
	}
	store, err := c.fillStore(root)
	if err != nil {
		return err
	}
	defer unix.Close(store)
	for i, at := range c.places {
		if err := c.show(store, i, at); err != nil {
			return err
		}
	}
	for _, fd := range c.covers {
		if err := freeze(fd); err != nil {
			return err
		}
	}
	return changeRoot(root)
}

// fillStore puts all contents into a file system of their own and makes it
// read-only.
func (c *cover) fillStore(root int) (store int, err error) {
	at, err := makeDir(root, FilesDir[1:])
	if err != nil {
		return -1, err
	}
	defer unix.Close(at)
	if store, err = newTmpfs(at, sealed); err != nil {
		return -1, err
	}
	for i := range c.files {
		if err = c.write(store, i); err != nil {
			break
		}
	}
	if err == nil {
		err = freeze(store)
	}
	if err != nil {
		unix.Close(store)
	}
	return store, err
}

// storeName is a file's name in the store. No name of a variable begins with a
// digit.
func (c *cover) storeName(i int) string {
	if key := c.files[i].EnvKey; key != "" {
		return key
	}
	return strconv.Itoa(i)
}

// write copies one content into the store.
func (c *cover) write(store, i int) error {
	fd, err := unix.Openat(store, c.storeName(i), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o444)
	if err != nil {
		return os.NewSyscallError("make an injected file", err)
	}
	defer unix.Close(fd)
	if err := unix.Fchmod(fd, 0o444); err != nil { // whatever the umask
		return os.NewSyscallError("fchmod", err)
	}
	from, left := c.starts[i], int(c.files[i].Size)
	for left > 0 {
		n, err := unix.Sendfile(fd, c.blob, &from, left)
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("fill an injected file", err)
		}
		left -= max(n, 0)
	}
	return nil
}

// show mounts a file of the store where it shall appear.
func (c *cover) show(store, i, at int) error {
	fd, err := openPath(store, c.storeName(i))
	if err != nil {
		return os.NewSyscallError("open an injected file", err)
	}
	defer unix.Close(fd)
	return bind(fd, at)
}

// needed tells whether a directory must be covered.
func (s *site) needed() bool {
	if s.parent == nil || s.loose || len(s.files) > 0 {
		return true
	}
	for _, below := range s.sites {
		if below.fd < 0 {
			return true
		}
	}
	return false
}

// lay covers one site, where that is needed, and goes on with those below it.
// at is where the site appears in the namespace; the root of its cover is
// returned, or -1.
func (c *cover) lay(s *site, at int) (root int, err error) {
	if !s.needed() {
		return -1, c.descend(s, at)
	}
	flags := sealed
	if s.shared {
		flags = plain
	}
	if root, err = newTmpfs(at, flags); err != nil {
		return -1, err
	}
	if s.shared {
		defer unix.Close(root)
	} else {
		c.covers = append(c.covers, root)
	}
	if s.fd >= 0 {
		if err := c.mirror(s, root); err != nil {
			return -1, err
		}
	}
	if err := c.fill(s, root); err != nil {
		return -1, err
	}
	return root, copyMode(s.fd, root)
}

// fill makes in a cover what the layout wants in it.
func (c *cover) fill(s *site, root int) error {
	for name, i := range s.files {
		at, err := makeFile(root, name)
		if err != nil {
			return err
		}
		c.places[i] = at
	}
	for name, below := range s.sites {
		at, err := makeDir(root, name)
		if err != nil {
			return err
		}
		err = c.below(below, root, at)
		unix.Close(at)
		if err != nil {
			return err
		}
	}
	return nil
}

// below lays a site in the cover of its parent, or in what was made there. A
// directory that is made is as read-only as the cover; only in a shared one it
// needs a cover of its own.
func (c *cover) below(s *site, root, at int) error {
	switch {
	case s.fd < 0 && s.parent.shared:
		_, err := c.lay(s, at)
		return err
	case s.fd < 0:
		return c.fill(s, at)
	}
	if err := bind(s.fd, at); err != nil {
		return err
	}
	return c.again(s, root)
}

// again lays a site at its name in dir, on top of what is mounted there.
func (c *cover) again(s *site, dir int) error {
	at, err := openPath(dir, s.name)
	if err != nil {
		return os.NewSyscallError("open "+s.path, err)
	}
	defer unix.Close(at)
	_, err = c.lay(s, at)
	return err
}

// descend goes on below a directory that needs no cover: what is in it can be
// moved neither by the program nor by others of its user.
func (c *cover) descend(s *site, at int) error {
	for _, below := range s.sites {
		if err := c.again(below, at); err != nil {
			return err
		}
	}
	return nil
}
