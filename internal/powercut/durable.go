package powercut

// settle finds out from when on each operation is on the disk for certain.
func (h *History) settle() {
	for _, f := range h.syncs {
		if f.exit >= h.End {
			continue // it never returned
		}
		for _, o := range h.ops {
			if o.enter >= f.enter {
				break // in the order of their beginnings
			}
			if o.exit >= f.enter {
				continue // still under way when the flush began
			}
			if f.file == nil || o.strictly(f.file) {
				o.strict = min(o.strict, f.exit)
			}
			if f.file == nil || o.strictly(f.file) || o.isName() {
				o.journal = min(o.journal, f.exit)
			}
		}
	}
}

// isName tells whether an operation changes names, not contents.
func (o *op) isName() bool { return o.kind >= opLink }

// strictly tells whether a flush of a file or directory covers an operation, by
// no more than what the standard promises: a file's content with the file, a
// name with the directory that holds it.
func (o *op) strictly(flushed *inode) bool {
	switch o.kind {
	case opWrite, opSize:
		return o.file == flushed
	case opRename:
		return o.toDir == flushed
	}
	return o.dir == flushed
}

// Model says what a flush promises of names.
type Model bool

// The models.
const (
	// Strict: a flush of a file says nothing of its name, and one of a
	// directory nothing of that directory's own name. Changes of names that
	// were not flushed may be lost one without the other.
	Strict Model = false

	// Journal: as ext4 does, changes of names come onto the disk in their
	// order, and every flush takes all before it along. What files hold is
	// as in Strict.
	Journal Model = true
)

// since returns the position from which on an operation is on the disk.
func (o *op) since(m Model) int {
	if m == Journal {
		return min(o.strict, o.journal)
	}
	return o.strict
}

// WithoutSyncs returns the history of the same calls on a machine whose flushes
// do nothing if drop says so. It is told of what, by the last path that it had,
// and at which offset the newest write before was. It is for the test of the
// tests.
func (h *History) WithoutSyncs(drop func(path string, behind int64) bool) *History {
	out := *h
	out.ops, out.syncs = nil, nil
	for _, o := range h.ops {
		c := *o
		if c.enter >= 0 {
			c.strict, c.journal = never, never
		}
		out.ops = append(out.ops, &c)
	}
	names := h.paths()
	for _, f := range h.syncs {
		if f.file == nil || !drop(names[f.file], h.newest(f)) {
			out.syncs = append(out.syncs, f)
		}
	}
	out.settle()
	return &out
}

// newest returns the offset of the newest write that a flush covers; −1: none.
func (h *History) newest(f flush) int64 {
	off := int64(-1)
	for _, o := range h.ops {
		if o.enter < f.enter && o.kind == opWrite && o.file == f.file {
			off = o.off
		}
	}
	return off
}

// paths names every inode by the last name that it had.
func (h *History) paths() map[*inode]string {
	at := map[*inode]string{h.root: ""}
	for _, o := range h.ops {
		switch o.kind {
		case opLink:
			at[o.file] = at[o.dir] + "/" + o.name
		case opRename:
			at[o.file] = at[o.toDir] + "/" + o.toName
		}
	}
	return at
}

// Continue returns the beginning of another history: of what processes do that
// are started below root after those of h were killed at a cut. They find all
// that had begun by then, since only the processes are gone and not the machine,
// and of that the disk has no more than it had.
func (h *History) Continue(cut int, root string) *History {
	next := &History{Root: root, without: h.without}
	same := map[*inode]*inode{nil: nil}
	node := func(n *inode) *inode {
		if same[n] == nil && n != nil {
			same[n] = next.newInode(n.dir)
			same[n].base = n.base
		}
		return same[n]
	}
	next.root = node(h.root)
	for _, o := range h.ops {
		if o.enter >= cut {
			continue
		}
		c := *o
		c.file, c.dir, c.toDir = node(o.file), node(o.dir), node(o.toDir)
		c.enter, c.exit = -1, -1
		c.strict, c.journal = carried(o.strict, cut), carried(o.since(Journal), cut)
		next.ops = append(next.ops, &c)
		if c.isName() {
			c.inPlace()
		}
	}
	return next
}

// carried is from when on an operation before a cut is on the disk, for whoever
// comes after it.
func carried(since, cut int) int {
	if since < cut {
		return -1
	}
	return never
}

// inPlace carries out a change of a name on the directories as they are.
func (o *op) inPlace() {
	if o.kind != opLink && o.dir.entries[o.name] == o.file {
		delete(o.dir.entries, o.name)
	}
	switch o.kind {
	case opLink:
		o.dir.entries[o.name] = o.file
	case opRename:
		o.toDir.entries[o.toName] = o.file
	}
}
