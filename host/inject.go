package host

import (
	"errors"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger/event"
)

// The bounds of a request's files. Those marked as ours are bounds that the
// contract leaves to the host; the others are the contract's numbers. Those that
// are exported keep the guest binding from copying what is beyond them.
const (
	MaxFiles      = 128
	MaxFileBytes  = 8 << 20  // of one content
	MaxFilesBytes = 16 << 20 // of all contents together
	maxFilePaths  = 16 << 10 // ours: all paths together, so that one event can name them
)

// validFiles checks what needs no look at the disk.
func validFiles(files []FileInjection, env []EnvVar) *Error {
	if len(files) > MaxFiles {
		return errorf(TooLarge, "%d files, at most %d are taken", len(files), MaxFiles)
	}
	total, keys, paths := 0, 0, 0
	for _, v := range env {
		keys += len(v.Key)
	}
	taken := map[string]bool{}
	for i, f := range files {
		if err := validFile(i, f, env, taken); err != nil {
			return err
		}
		total += len(f.Content)
		if f.EnvKey != nil {
			keys += len(*f.EnvKey)
		} else {
			paths += len(*f.Path)
		}
	}
	switch {
	case total > MaxFilesBytes:
		return errorf(TooLarge, "the files have %d bytes together, at most %d are taken", total, MaxFilesBytes)
	case paths > maxFilePaths:
		return errorf(TooLarge, "the paths of the files have %d bytes together, at most %d are taken", paths, maxFilePaths)
	case keys > maxEnvKeys:
		return errorf(TooLarge, "the names of the variables and of the files' variables have %d bytes together, at most %d are taken", keys, maxEnvKeys)
	}
	return nil
}

// validFile checks one file, and that no other has its place, which it notes in
// taken. A path has a slash and a variable has none.
func validFile(i int, f FileInjection, env []EnvVar, taken map[string]bool) *Error {
	if len(f.Content) > MaxFileBytes {
		return errorf(TooLarge, "file %d has %d bytes, at most %d are taken", i+1, len(f.Content), MaxFileBytes)
	}
	var place string
	var err *Error
	switch {
	case (f.EnvKey == nil) == (f.Path == nil):
		return errorf(InvalidInput, "file %d needs a variable or a path, and not both", i+1)
	case f.EnvKey != nil:
		place, err = *f.EnvKey, validFileKey(*f.EnvKey, env)
	default:
		place, err = path.Clean(*f.Path), validFilePath(*f.Path)
	}
	if err != nil {
		return err
	}
	if taken[place] {
		return errorf(InvalidInput, "two files have the place %.200q", place)
	}
	taken[place] = true
	return nil
}

// validFileKey holds a file's variable to the rules of every other.
func validFileKey(key string, env []EnvVar) *Error {
	if err := validVar(EnvVar{Key: key}); err != nil {
		return err
	}
	for _, v := range env {
		if v.Key == key {
			return errorf(InvalidInput, "variable %s is set twice, once to the place of a file", key)
		}
	}
	return nil
}

func validFilePath(p string) *Error {
	switch {
	case !strings.HasPrefix(p, "/"):
		return errorf(InvalidInput, "the path of a file %.200q is not absolute", p)
	case len(p) >= unix.PathMax:
		return errorf(InvalidInput, "the path of a file has %d bytes, at most %d are taken", len(p), unix.PathMax-1)
	case strings.ContainsAny(p, "\"\\\x00"):
		return errorf(InvalidInput, "the path of a file %.200q contains a quote, a backslash or NUL", p)
	case strings.HasSuffix(p, "/"), path.Clean(p) == "/":
		return errorf(InvalidInput, "the path of a file %.200q is that of a directory", p)
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return errorf(InvalidInput, "the path of a file %.200q contains ..", p)
		}
	}
	if why := act.ReservedFile(path.Clean(p)); why != "" {
		return errorf(InvalidInput, "no file can be laid at %.200q: %s", p, why)
	}
	return nil
}

// placeable looks at the disk for what is in the way of files, so that most of
// what cannot be is refused by the decision. Whoever lays them looks again.
func (h *Host) placeable(files []FileInjection, workspace string) *Error {
	if len(files) == 0 {
		return nil
	}
	if h.isolation == act.IsolationNone {
		return errorf(Unknown, "files can be laid before a program only where it is isolated, and this daemon runs with isolation = \"none\"")
	}
	err := h.hands.CheckFiles(actFiles(files), workspace)
	switch {
	case errors.Is(err, act.ErrFiles):
		return errorf(InvalidInput, "%v", err)
	case err != nil:
		return errorf(Unknown, "files: %v", err)
	}
	return nil
}

// actFiles are the files of a request that was found valid, as the hands take
// them.
func actFiles(files []FileInjection) (out []act.File) {
	for _, f := range files {
		if f.EnvKey != nil {
			out = append(out, act.File{EnvKey: *f.EnvKey, Content: f.Content})
		} else {
			out = append(out, act.File{Path: path.Clean(*f.Path), Content: f.Content})
		}
	}
	return out
}

// namedFiles are the files as the ledger names them, never with their contents.
// Of a request that is refused for too many it keeps the first.
func (h *Host) namedFiles(files []FileInjection) (out []event.InjectedFile) {
	room := maxFilePaths + MaxFiles
	for _, f := range files[:min(len(files), MaxFiles)] {
		named := event.InjectedFile{Bytes: uint64(len(f.Content))}
		if f.EnvKey != nil {
			named.EnvKey = cut(*f.EnvKey, textRoom)
		} else if f.Path != nil {
			named.Path = cut(*f.Path, textRoom)
		}
		if room -= len(named.EnvKey) + len(named.Path); room < 0 {
			break
		}
		named.Digest = h.digest(func(w io.Writer) { w.Write(f.Content) })
		out = append(out, named)
	}
	return out
}
