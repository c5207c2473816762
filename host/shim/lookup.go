//go:build linux

package shim

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lookPath finds the file that the command names, as execvp does: with a slash
// it is a path, relative to the working directory; else the first executable
// file of that name along PATH in env. It must run on the thread whose working
// directory is the program's. EACCES wins over ENOENT: a file was there, and
// could not be run.
func lookPath(command string, env []string) (string, error) {
	if strings.Contains(command, "/") {
		return command, executable(command)
	}
	failed := error(unix.ENOENT)
	for _, dir := range strings.Split(variable(env, "PATH"), ":") {
		if dir == "" {
			dir = "."
		}
		path := dir + "/" + command
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if err == unix.EACCES {
			failed = err
		}
	}
	return "", failed
}

// variable returns the last value of a key in env, as exec gives it to programs
// that look for the last; the host allows no key twice.
func variable(env []string, key string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], key+"="); ok {
			return v
		}
	}
	return ""
}

// executable tells whether path is a regular file that may be run.
func executable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EACCES
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}

// maxShebang is how much of a script's first line the kernel reads
// (BINPRM_BUF_SIZE).
const maxShebang = 256

// maxHashed is the most bytes of an executable that are read for its digest: a
// program must not wait for the reading of a file that may be sparse, remote or
// larger than any program is.
const maxHashed = 256 << 20

// describe names the file at path by content, device and inode, and the
// interpreter if it is a script. A file that may be run but not read has no
// digest, nor has one that is no regular file or larger than maxHashed. It is called before the program runs, so that a script that rewrites
// itself cannot change what the ledger says was run.
func describe(path, dir string) (file File, interpreter *File, err error) {
	// Not blocking: an interpreter may be anything, a FIFO too.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err == unix.EACCES {
		return describeUnreadable(path, dir)
	}
	if err != nil {
		return file, nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	file, size, regular := identify(fd, path, dir)
	if !regular {
		return file, nil, nil
	}
	var head [maxShebang]byte
	n, err := io.ReadFull(f, head[:min(size, maxShebang)])
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return file, nil, err
	}
	if size <= maxHashed {
		sum := sha256.New()
		sum.Write(head[:n])
		if _, err := io.Copy(sum, io.LimitReader(f, size-int64(n))); err != nil {
			return file, nil, err
		}
		file.SHA256 = sum.Sum(nil)
	}
	if name := shebang(head[:n]); name != "" {
		interpreter = describeInterpreter(name, dir)
	}
	return file, interpreter, nil
}

// describeUnreadable names a file that may be run only.
func describeUnreadable(path, dir string) (file File, interpreter *File, err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return file, nil, err
	}
	defer unix.Close(fd)
	file, _, _ = identify(fd, path, dir)
	return file, nil, nil
}

// describeInterpreter names a script's interpreter. If it is not there, or no
// program, the exec will say so.
func describeInterpreter(name, dir string) *File {
	if executable(name) == nil {
		if f, _, err := describe(name, dir); err == nil {
			return &f
		}
	}
	return &File{Path: absolute(name, dir)}
}

// identify fills in all but the digest, and returns the size and whether it is a
// regular file. The path is the
// one that the kernel knows the open file by, with every symbolic link resolved.
func identify(fd int, path, dir string) (file File, size int64, regular bool) {
	file = File{Path: absolute(path, dir)}
	var link [unix.PathMax]byte
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), link[:])
	if err == nil && n > 0 && link[0] == '/' {
		file.Path = string(link[:n])
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil {
		file.Device, file.Inode, size = st.Dev, st.Ino, st.Size
		regular = st.Mode&unix.S_IFMT == unix.S_IFREG
	}
	return file, size, regular
}

func absolute(path, dir string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return strings.TrimSuffix(dir, "/") + "/" + strings.TrimPrefix(path, "./")
}

// shebang returns the interpreter in a script's first line, or "".
func shebang(head []byte) string {
	line, ok := bytes.CutPrefix(head, []byte("#!"))
	if !ok {
		return ""
	}
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	line = bytes.Trim(line, " \t")
	if i := bytes.IndexAny(line, " \t\x00"); i >= 0 {
		line = line[:i]
	}
	return string(line)
}
