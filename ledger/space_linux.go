package ledger

import "golang.org/x/sys/unix"

// stReadOnly is ST_RDONLY of statfs(2).
const stReadOnly = 1

func readOnly(st *unix.Statfs_t) bool { return st.Flags&stReadOnly != 0 }
