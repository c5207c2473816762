//go:build linux

package shim

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reachAround are the capabilities by which root could change what is mounted
// read-only, or the shim that could: mounting, the memory of other processes,
// of the kernel and of devices, and another root directory.
var reachAround = []uintptr{
	unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_SYS_RAWIO, unix.CAP_SYS_MODULE, unix.CAP_SYS_BOOT,
	unix.CAP_SYS_CHROOT, unix.CAP_MKNOD, unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_CHECKPOINT_RESTORE,
}

// lockMounts takes from the thread, for itself and for all that it starts, every
// means of changing what is mounted. It needs no_new_privs.
//
// The filter is there beside the capabilities because anybody may make a user
// namespace, and in it mount whatever he likes over anything.
func lockMounts() error {
	if os.Geteuid() == 0 { // others lose all by the exec
		if err := dropReach(); err != nil {
			return err
		}
	}
	filter := mountFilter()
	if filter == nil {
		return os.NewSyscallError("filter of system calls on "+runtime.GOARCH, unix.EOPNOTSUPP)
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	runtime.KeepAlive(filter)
	return os.NewSyscallError("filter system calls", err)
}

// dropReach drops reachAround from the bounding set, which an exec cannot
// exceed, and from the thread itself. A capability that this kernel does not
// know cannot be had.
func dropReach() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&head, &caps[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	for _, c := range reachAround {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL {
			return os.NewSyscallError("drop from the bounding set", err)
		}
		word, bit := &caps[c/32], uint32(1)<<(c%32)
		word.Effective &^= bit
		word.Permitted &^= bit
		word.Inheritable &^= bit
	}
	return os.NewSyscallError("capset", unix.Capset(&head, &caps[0]))
}

// mountCalls change what is mounted, or what a process sees of it.
var mountCalls = []uint32{
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_SETNS,
	unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR, unix.SYS_MOVE_MOUNT, unix.SYS_MOUNT_SETATTR,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK,
}

// Offsets in struct seccomp_data. The flags of unshare and clone are the first
// argument on the machines below; its lower half comes first.
const (
	dataNumber   = 0
	dataArch     = 4
	dataArgument = 16
)

// x32Bit marks the numbers of the x32 ABI, which the kernel counts as x86-64.
const x32Bit = 0x40000000

var auditArch = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// mountFilter is a seccomp program that refuses the mount calls and new user
// and mount namespaces with EPERM. What it cannot look into does not exist for
// the program: clone3, whose flags are in memory, and every foreign ABI. C
// libraries fall back to clone. nil: this machine's numbers are not known.
func mountFilter() []unix.SockFilter {
	arch, ok := auditArch[runtime.GOARCH]
	if !ok {
		return nil
	}
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		least = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		bits  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		give  = unix.BPF_RET | unix.BPF_K
		deny  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
		none  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
		fresh = unix.CLONE_NEWUSER | unix.CLONE_NEWNS
	)
	f := []unix.SockFilter{
		{Code: load, K: dataArch},
		{Code: equal, K: arch, Jt: 1}, {Code: give, K: none},
		{Code: load, K: dataNumber},
		{Code: least, K: x32Bit, Jf: 1}, {Code: give, K: none},
		{Code: equal, K: unix.SYS_CLONE3, Jf: 1}, {Code: give, K: none},
	}
	for _, call := range mountCalls {
		f = append(f, unix.SockFilter{Code: equal, K: call, Jf: 1}, unix.SockFilter{Code: give, K: deny})
	}
	return append(f,
		unix.SockFilter{Code: equal, K: unix.SYS_UNSHARE, Jt: 1},
		unix.SockFilter{Code: equal, K: unix.SYS_CLONE, Jf: 2},
		unix.SockFilter{Code: load, K: dataArgument},
		unix.SockFilter{Code: bits, K: fresh, Jt: 1},
		unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: give, K: deny},
	)
}
