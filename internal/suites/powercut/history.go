package powercut

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// History is what traced processes did to the files below a directory, in the
// order in which they did it.
type History struct {
	Root string
	End  int // the first position after the trace

	ops    []*op
	syncs  []flush
	root   *inode
	inodes int

	without []string // names below the root that are left out

	// moved tells the names that directories had: a descriptor that was opened
	// under the old one may be printed with it for a moment.
	moved [][2]string

	// Unplaced are calls of the trace that changed a file whose making is not
	// in it. A history with any is not to be trusted.
	Unplaced []string
}

// inode is a file or a directory, whatever it is called.
type inode struct {
	number  int
	dir     bool
	entries map[string]*inode // of a directory, as they are now
	base    []byte            // of a file that was there before the trace
}

// kind tells what an operation changes.
type kind int

const (
	opWrite  kind = iota // data at an offset
	opSize               // the size alone
	opLink               // a name for a file or a directory: new, or another
	opUnlink             // a name less
	opRename             // a name becomes another, in place of what that named
)

// op is one change.
type op struct {
	kind        kind
	enter, exit int // positions: it may be on the disk from enter on
	strict      int // the position from which on it is there for certain; never: the trace has none
	journal     int // the same on a file system that commits all changes of names in order

	file *inode // what is written to, or named
	off  int64
	data []byte
	size int64

	dir, toDir   *inode
	name, toName string
}

const never = int(^uint(0) >> 1)

// flush is a call that makes durable what was done before it.
type flush struct {
	enter, exit int
	file        *inode // nil: everything
}

// NewHistory begins a history with what is below root now. Files below the
// names in without are left out.
func NewHistory(root string, without ...string) (*History, error) {
	h := &History{Root: root, without: without}
	h.root = h.newInode(true)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		if !h.below(path) {
			return filepath.SkipDir
		}
		if !d.IsDir() && !d.Type().IsRegular() {
			return nil
		}
		node := h.newInode(d.IsDir())
		if !d.IsDir() {
			if node.base, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		dir, name := h.at(path)
		dir.entries[name] = node
		// What was there before counts as on the disk.
		h.ops = append(h.ops, &op{kind: opLink, enter: -1, exit: -1, strict: -1, journal: -1, file: node, dir: dir, name: name})
		return nil
	})
	return h, err
}

func (h *History) newInode(dir bool) *inode {
	n := &inode{number: h.inodes, dir: dir}
	h.inodes++
	if dir {
		n.entries = map[string]*inode{}
	}
	return n
}

// at returns the directory that a path is in, and the name there; nil if it is
// not below the root, or was never made.
func (h *History) at(path string) (dir *inode, name string) {
	rel, ok := strings.CutPrefix(filepath.Clean(path), h.Root+"/")
	if !ok {
		return nil, ""
	}
	dir = h.root
	parts := strings.Split(rel, "/")
	for _, p := range parts[:len(parts)-1] {
		if dir = dir.entries[p]; dir == nil || !dir.dir {
			return nil, ""
		}
	}
	return dir, parts[len(parts)-1]
}

// node returns what a path names, nil if nothing of the history.
func (h *History) node(path string) *inode {
	if path == h.Root {
		return h.root
	}
	if dir, name := h.at(path); dir != nil && dir.entries[name] != nil {
		return dir.entries[name]
	}
	for _, m := range h.moved {
		if rest, ok := strings.CutPrefix(path, m[0]); ok && (rest == "" || rest[0] == '/') {
			if dir, name := h.at(m[1] + rest); dir != nil {
				return dir.entries[name]
			}
		}
	}
	return nil
}

// below tells whether a path is one of the history's.
func (h *History) below(path string) bool {
	rest, ok := strings.CutPrefix(path, h.Root)
	if !ok || rest != "" && rest[0] != '/' {
		return false
	}
	for _, w := range h.without {
		if strings.HasPrefix(rest+"/", "/"+w+"/") {
			return false
		}
	}
	return true
}

// Take takes the calls of a trace in. It is called once.
func (h *History) Take(calls []*Call, end int) error {
	h.End = end
	for _, c := range calls {
		if c.Ret < 0 && c.Exit < end {
			continue // it did nothing
		}
		if err := h.take(c); err != nil {
			return fmt.Errorf("trace, line %d: %s: %w", c.Enter+1, c.Name, err)
		}
	}
	h.settle()
	return nil
}

func (h *History) take(c *Call) error {
	switch c.Name {
	case "open", "openat", "openat2", "creat":
		return h.open(c)
	case "mkdir", "mkdirat":
		h.make(c, c.path(0, c.Name == "mkdirat"), true)
	case "write", "writev", "pwrite64", "pwritev", "pwritev2":
		return h.write(c)
	case "ftruncate", "fallocate":
		return h.resize(c, c.Args[0].Path, c.Args[0].Gone)
	case "truncate":
		return h.resize(c, c.path(0, false), false)
	case "rename":
		h.rename(c, c.path(0, false), c.path(1, false))
	case "renameat", "renameat2":
		h.rename(c, c.path(0, true), c.path(2, true))
	case "unlink", "rmdir":
		h.unlink(c, c.path(0, false))
	case "unlinkat":
		h.unlink(c, c.path(0, true))
	case "link":
		h.link(c, c.path(0, false), c.path(1, false))
	case "linkat":
		h.link(c, c.path(0, true), c.path(2, true))
	case "fsync", "fdatasync":
		if node := h.node(c.Args[0].Path); node != nil {
			h.syncs = append(h.syncs, flush{c.Enter, c.Exit, node})
		}
	case "sync", "syncfs":
		h.syncs = append(h.syncs, flush{c.Enter, c.Exit, nil})
	case "symlink", "symlinkat", "copy_file_range", "sendfile", "splice", "msync":
		for i := range c.Args {
			if a := &c.Args[i]; h.below(a.Path) || h.below(string(a.Str)) {
				h.Unplaced = append(h.Unplaced, fmt.Sprintf("line %d: %s", c.Enter+1, c.Name))
			}
		}
	}
	return nil
}

// path returns the path that argument i names, or, with at, arguments i and
// i+1: a directory's descriptor and a name relative to it.
func (c *Call) path(i int, at bool) string {
	dir := ""
	if at {
		dir = c.Args[i].Path
		i++
	}
	name := string(c.Args[i].Str)
	if filepath.IsAbs(name) || dir == "" {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}

// open takes in the making of a file, and its being emptied.
func (h *History) open(c *Call) error {
	flags := 1
	at := c.Name == "openat" || c.Name == "openat2"
	if at {
		flags = 2
	}
	path := c.path(0, at)
	if !h.below(path) || c.Ret < 0 {
		return nil
	}
	how := "O_CREAT|O_TRUNC"
	if c.Name != "creat" {
		how = c.Args[flags].Raw
	}
	if strings.Contains(how, "SYNC") {
		return fmt.Errorf("%s is opened for writing through, which the model does not know", path)
	}
	node := h.node(path)
	if node == nil && strings.Contains(how, "O_CREAT") {
		h.make(c, path, false)
		return nil
	}
	if node != nil && strings.Contains(how, "O_TRUNC") {
		h.add(&op{kind: opSize, file: node}, c)
	}
	return nil
}

// make takes in a new file or directory.
func (h *History) make(c *Call, path string, dir bool) {
	if !h.below(path) {
		return
	}
	parent, name := h.at(path)
	if parent == nil {
		h.unplaced(c, path)
		return
	}
	if parent.entries[name] != nil {
		return
	}
	node := h.newInode(dir)
	parent.entries[name] = node
	h.add(&op{kind: opLink, file: node, dir: parent, name: name}, c)
}

func (h *History) unplaced(c *Call, path string) {
	h.Unplaced = append(h.Unplaced, fmt.Sprintf("line %d: %s of %s", c.Enter+1, c.Name, path))
}

func (h *History) add(o *op, c *Call) {
	o.enter, o.exit, o.strict, o.journal = c.Enter, c.Exit, never, never
	h.ops = append(h.ops, o)
}

// write takes in written data. Of a plain write the place is where the one
// before ended: no file here is written in turns by several descriptors.
func (h *History) write(c *Call) error {
	a := c.Args[0]
	if a.Gone || !h.below(a.Path) {
		return nil
	}
	node := h.node(a.Path)
	if node == nil {
		h.unplaced(c, a.Path)
		return nil
	}
	data := c.Args[1].Str
	if c.Ret >= 0 && int(c.Ret) < len(data) {
		data = data[:c.Ret]
	}
	if len(data) == 0 {
		return nil
	}
	off := h.length(node)
	if strings.HasPrefix(c.Name, "p") {
		var err error
		if off, err = strconv.ParseInt(c.Args[3].Raw, 10, 64); err != nil {
			return err
		}
	}
	h.add(&op{kind: opWrite, file: node, off: off, data: data}, c)
	return nil
}

// length is the size of a file when all that was done to it is done.
func (h *History) length(node *inode) int64 {
	size := int64(len(node.base))
	for _, o := range h.ops {
		if o.file == node {
			size = o.length(size)
		}
	}
	return size
}

// length returns a file's size after an operation.
func (o *op) length(before int64) int64 {
	switch o.kind {
	case opWrite:
		return max(before, o.off+int64(len(o.data)))
	case opSize:
		return o.size
	}
	return before
}

// resize takes in a change of a file's size. Blocks that are taken for a file
// without making it longer change nothing that is read.
func (h *History) resize(c *Call, path string, gone bool) error {
	if gone || !h.below(path) || c.Name == "fallocate" && strings.Contains(c.Args[1].Raw, "KEEP_SIZE") {
		return nil
	}
	node := h.node(path)
	if node == nil {
		h.unplaced(c, path)
		return nil
	}
	size, err := strconv.ParseInt(c.Args[len(c.Args)-1].Raw, 10, 64)
	if err != nil {
		return err
	}
	if c.Name == "fallocate" {
		if c.Args[1].Raw != "0" || c.Args[2].Raw != "0" {
			return fmt.Errorf("mode %s at %s, which the model does not know", c.Args[1].Raw, c.Args[2].Raw)
		}
		size = max(size, h.length(node))
	}
	h.add(&op{kind: opSize, file: node, size: size}, c)
	return nil
}

func (h *History) rename(c *Call, from, to string) {
	if !h.below(from) && !h.below(to) {
		return
	}
	dir, name := h.at(from)
	toDir, toName := h.at(to)
	if dir == nil || toDir == nil {
		h.unplaced(c, from)
		return
	}
	node := dir.entries[name]
	if node == nil {
		h.unplaced(c, from)
		return
	}
	delete(dir.entries, name)
	toDir.entries[toName] = node
	if node.dir {
		h.moved = append(h.moved, [2]string{from, to})
	}
	h.add(&op{kind: opRename, file: node, dir: dir, name: name, toDir: toDir, toName: toName}, c)
}

func (h *History) unlink(c *Call, path string) {
	dir, name := h.at(path)
	if dir == nil || dir.entries[name] == nil {
		return // a socket, or nothing of ours
	}
	node := dir.entries[name]
	delete(dir.entries, name)
	h.add(&op{kind: opUnlink, file: node, dir: dir, name: name}, c)
}

func (h *History) link(c *Call, from, to string) {
	node := h.node(from)
	dir, name := h.at(to)
	if node == nil || dir == nil {
		if h.below(to) {
			h.unplaced(c, to)
		}
		return
	}
	dir.entries[name] = node
	h.add(&op{kind: opLink, file: node, dir: dir, name: name}, c)
}
