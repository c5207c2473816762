package report

import "fmt"

// Signals and errors are Linux's, wherever the ledger is read: the numbers
// were recorded there, so the names come from this file and not from the
// machine.

var signalNames = map[uint32]string{
	1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 10: "USR1",
	11: "SEGV", 12: "USR2", 13: "PIPE", 14: "ALRM", 15: "TERM", 17: "CHLD", 18: "CONT", 19: "STOP", 20: "TSTP",
	24: "XCPU", 25: "XFSZ", 31: "SYS",
}

// Signal names a Linux signal: "TERM (15)", "signal 42".
func Signal(n uint32) string {
	if name, ok := signalNames[n]; ok {
		return fmt.Sprintf("%s (%d)", name, n)
	}
	return fmt.Sprintf("signal %d", n)
}

var errnoNames = map[uint32]string{
	1: "EPERM, not permitted", 2: "ENOENT, no such file", 5: "EIO, input or output error", 7: "E2BIG, too many arguments",
	8: "ENOEXEC, not an executable format", 11: "EAGAIN, out of processes", 12: "ENOMEM, out of memory",
	13: "EACCES, no permission", 20: "ENOTDIR, not a directory", 21: "EISDIR, is a directory", 22: "EINVAL, invalid",
	26: "ETXTBSY, the file is being written", 28: "ENOSPC, no space left", 36: "ENAMETOOLONG, name too long", 40: "ELOOP, too many links",
}

func errno(n uint32) string {
	if name, ok := errnoNames[n]; ok {
		return name
	}
	return fmt.Sprintf("errno %d", n)
}
