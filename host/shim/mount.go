//go:build linux

package shim

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// The system calls by which files are laid before a program. All of them work
// on descriptors: a path is what somebody else may change between two calls.

// enclose keeps what is mounted in this namespace from being seen outside of
// it. Mounts of the machine go on arriving, and its unmounts too.
func enclose() error {
	return os.NewSyscallError("make mounts slaves", unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""))
}

// Flags of the mounts that are made: what only this program sees holds no
// devices and no programs, but for a shared directory, in which programs build
// others and run them.
const (
	plain  = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	sealed = plain | unix.MOUNT_ATTR_NOEXEC
)

// newTmpfs makes an empty file system in memory and mounts it on the directory
// at, with the flags sealed or plain. It returns the descriptor of its root.
func newTmpfs(at, flags int) (root int, err error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	for _, o := range [][2]string{{"source", "astrid-files"}, {"mode", "0755"}} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return -1, os.NewSyscallError("fsconfig", err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	root, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, flags)
	if err != nil {
		return -1, os.NewSyscallError("fsmount", err)
	}
	if err := attach(root, at); err != nil {
		unix.Close(root)
		return -1, err
	}
	return root, nil
}

// attach mounts a tree that is mounted nowhere on the file or directory at.
func attach(tree, at int) error {
	const flags = unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH
	return os.NewSyscallError("move_mount", unix.MoveMount(tree, "", at, "", flags))
}

// bind shows the file or directory source, with all that is mounted below it,
// at the place at.
func bind(source, at int) error {
	const flags = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_RECURSIVE | unix.AT_EMPTY_PATH
	tree, err := unix.OpenTree(source, "", flags)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	defer unix.Close(tree)
	return attach(tree, at)
}

// freeze makes a sealed tmpfs of newTmpfs read-only, the file system and its mount:
// both would have to be undone for one write. In a user namespace the other
// flags must be named again.
func freeze(root int) error {
	const flags = unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	err := unix.Mount("", procPath(root), "", flags, "")
	return os.NewSyscallError("remount read-only", err)
}

// changeRoot makes the mount at root the root of everybody in this namespace,
// and lets go of the old one.
func changeRoot(root int) error {
	old, err := openPath(unix.AT_FDCWD, "/")
	if err != nil {
		return os.NewSyscallError("open /", err)
	}
	defer unix.Close(old)
	if err := unix.Fchdir(root); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	// The old root lies on top of the new one now.
	if err := unix.Fchdir(old); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("unmount the old root", err)
	}
	return os.NewSyscallError("chdir", unix.Chdir("/"))
}

// openPath opens a name to be bound or mounted on, not to be read; a symbolic
// link itself and not what it names.
func openPath(dir int, name string) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
