package powercut

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
)

// sector is the unit that a disk writes whole or not at all, in bytes.
const sector = 512

// Picker says which of the changes that a power cut leaves undecided came onto
// the disk. Each is one of n of its sort, the i-th, in their order.
type Picker struct {
	Name string

	// names decides about a change of a name, and sectors about the k-th of
	// the parts, each one sector, of a write.
	names   func(i, n int) bool
	sectors func(i, n, k, parts int) bool
}

// State is what a power cut leaves of a directory.
type State struct {
	Cut    int // the position in the trace: what had begun before it may be there
	Model  Model
	Picker string

	// Undecided is how many changes the picker was asked about. With none,
	// every picker gives the same state.
	Undecided int

	files map[string]*content // by path below the root
	dirs  []string            // in order, parents first
}

// content is what a file holds: data, and zeros up to size.
type content struct {
	key  uint64 // equal for equal contents of the same file
	size int64
	data []byte
	kept bool // it is the same in many states
}

// Replayer makes states of a history. It keeps what many of them share.
type Replayer struct {
	h     *History
	names []*op
	data  map[*inode][]*op
	whole map[*inode]*content // with the first n operations of the file done
	done  map[*inode]int      // that n
	seed  maphash.Seed
}

// NewReplayer returns a replayer of a history that is complete.
func NewReplayer(h *History) *Replayer {
	r := &Replayer{h: h, data: map[*inode][]*op{}, whole: map[*inode]*content{}, done: map[*inode]int{}, seed: maphash.MakeSeed()}
	for _, o := range h.ops {
		if o.isName() {
			r.names = append(r.names, o)
		} else {
			r.data[o.file] = append(r.data[o.file], o)
		}
	}
	return r
}

// Cuts returns the positions at which a power cut leaves something else than at
// the one before, in order.
func (r *Replayer) Cuts() []int {
	at := map[int]bool{}
	for _, o := range r.h.ops {
		at[max(0, o.enter+1)] = true
	}
	for _, f := range r.h.syncs {
		if f.exit < r.h.End {
			at[f.exit+1] = true
		}
	}
	return slices.Sorted(maps.Keys(at))
}

// State returns what a power cut at a position leaves.
func (r *Replayer) State(cut int, m Model, p Picker) *State {
	s := &State{Cut: cut, Model: m, Picker: p.Name, files: map[string]*content{}}
	tree := r.tree(s, p)
	r.walk(s, p, tree, r.h.root, "")
	return s
}

// tree applies the changes of names that are there for certain, and those that
// the picker takes.
func (r *Replayer) tree(s *State, p Picker) map[*inode]map[string]*inode {
	n := 0
	for _, o := range r.names {
		if o.enter < s.Cut && o.since(s.Model) >= s.Cut {
			n++
		}
	}
	tree := map[*inode]map[string]*inode{}
	i, over := 0, false
	for _, o := range r.names {
		if o.enter >= s.Cut {
			break
		}
		if o.since(s.Model) >= s.Cut {
			take := !over && p.names(i, n)
			over = over || !take && s.Model == Journal
			i++
			if !take {
				continue
			}
		}
		o.rename(tree)
	}
	s.Undecided += n
	return tree
}

// rename carries out a change of names. What it takes a name away from may have
// got another meanwhile, or have lost it with a change that is not there.
func (o *op) rename(tree map[*inode]map[string]*inode) {
	set := func(dir *inode, name string) {
		if tree[dir] == nil {
			tree[dir] = map[string]*inode{}
		}
		tree[dir][name] = o.file
	}
	if o.kind != opLink && tree[o.dir][o.name] == o.file {
		delete(tree[o.dir], o.name)
	}
	switch o.kind {
	case opLink:
		set(o.dir, o.name)
	case opRename:
		set(o.toDir, o.toName)
	}
}

// walk adds what is below a directory to the state. What has no way to the root
// is not there.
func (r *Replayer) walk(s *State, p Picker, tree map[*inode]map[string]*inode, dir *inode, path string) {
	for _, name := range slices.Sorted(maps.Keys(tree[dir])) {
		node, at := tree[dir][name], strings.TrimPrefix(path+"/"+name, "/")
		if node.dir {
			s.dirs = append(s.dirs, at)
			r.walk(s, p, tree, node, at)
			continue
		}
		s.files[at] = r.content(s, p, node)
	}
}

// content returns what a file holds.
func (r *Replayer) content(s *State, p Picker, node *inode) *content {
	begun, undecided := 0, 0
	for _, o := range r.data[node] {
		if o.enter >= s.Cut {
			break
		}
		begun++
		if o.strict >= s.Cut {
			undecided++
		}
	}
	if undecided == 0 {
		return r.complete(node, begun)
	}
	s.Undecided += undecided
	c := &content{size: int64(len(node.base)), data: slices.Clone(node.base)}
	var key maphash.Hash
	key.SetSeed(r.seed)
	fmt.Fprint(&key, node.number, begun)
	i := 0
	for _, o := range r.data[node][:begun] {
		if o.strict < s.Cut {
			c.apply(o)
			continue
		}
		c.applyPart(o, func(k, parts int) bool {
			take := p.sectors(i, undecided, k, parts)
			fmt.Fprint(&key, take)
			return take
		})
		i++
	}
	c.key = key.Sum64()
	return c
}

// complete returns a file with its first n operations done.
func (r *Replayer) complete(node *inode, n int) *content {
	c := r.whole[node]
	if c == nil || r.done[node] > n {
		c = &content{size: int64(len(node.base)), data: slices.Clone(node.base)}
		r.done[node] = 0
	} else if r.done[node] < n { // others may hold the one before
		c = &content{size: c.size, data: slices.Clone(c.data)}
	}
	for _, o := range r.data[node][r.done[node]:n] {
		c.apply(o)
	}
	c.kept = true
	c.key = maphash.Comparable(r.seed, [2]int{node.number, n})
	r.whole[node], r.done[node] = c, n
	return c
}

func (c *content) apply(o *op) { c.applyPart(o, func(int, int) bool { return true }) }

// applyPart does those parts of an operation that take takes: of a write each
// sector by itself.
func (c *content) applyPart(o *op, take func(k, parts int) bool) {
	if o.kind == opSize {
		if take(0, 1) {
			c.size = o.size
			c.data = c.data[:min(int64(len(c.data)), c.size)]
		}
		return
	}
	first := o.off / sector
	parts := int((o.off+int64(len(o.data))-1)/sector - first + 1)
	for k := range parts {
		if !take(k, parts) {
			continue
		}
		from := max(o.off, (first+int64(k))*sector)
		to := min(o.off+int64(len(o.data)), (first+int64(k)+1)*sector)
		c.put(from, o.data[from-o.off:to-o.off])
	}
}

// put puts bytes at an offset; what lies between the end and there is zeros.
func (c *content) put(off int64, b []byte) {
	if end := off + int64(len(b)); end > int64(len(c.data)) {
		c.data = append(c.data, make([]byte, end-int64(len(c.data)))...)
		c.size = max(c.size, end)
	}
	copy(c.data[off:], b)
}

// Key tells states of what is below a path apart: those with the same one hold
// the same.
func (r *Replayer) Key(s *State, below string) uint64 {
	var key maphash.Hash
	key.SetSeed(r.seed)
	for _, d := range s.dirs {
		if strings.HasPrefix(d+"/", below+"/") {
			fmt.Fprintln(&key, d)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		if strings.HasPrefix(path, below+"/") {
			fmt.Fprintln(&key, path, s.files[path].key)
		}
	}
	return key.Sum64()
}

// String tells how to make the state again.
func (s *State) String() string {
	model := "strict"
	if s.Model == Journal {
		model = "journal"
	}
	return fmt.Sprintf("cut %d, %s, %s", s.Cut, model, s.Picker)
}
