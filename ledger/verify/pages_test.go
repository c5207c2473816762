package verify_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/verify"
	"github.com/astrid-os/processledger/projector"
)

// The header of bbolt's pages: see pages.go.
const (
	pageSize     = 4096 // of the files that the tests make
	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
)

// pagesOf returns the offsets of the pages in use with the given flag.
func pagesOf(t *testing.T, file []byte, flag uint16) (offsets []int64) {
	t.Helper()
	for off := 2 * pageSize; off < len(file); off += pageSize {
		p := file[off:]
		if binary.LittleEndian.Uint64(p) == uint64(off/pageSize) && binary.LittleEndian.Uint16(p[8:]) == flag {
			offsets = append(offsets, int64(off))
		}
	}
	return offsets
}

// big makes a ledger of one segment with a branch page.
func big(t *testing.T, dir string) {
	t.Helper()
	if pageSize != os.Getpagesize() {
		t.Skipf("pages of this machine have %d bytes", os.Getpagesize())
	}
	l, err := ledger.Open(dir, ledger.Options{Fold: blank{}, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		_, err := l.Submit(context.Background(), func(ledger.Header) ([]*event.Event, error) {
			return []*event.Event{{Body: &event.CapsuleUnloaded{Reason: strings.Repeat(fmt.Sprint(i%10), 300)}}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	trim(t, segments(t, dir)[0])
}

// blank is a fold without a state.
type blank struct{}

func (blank) Restore([]byte) error        { return nil }
func (blank) Replay(*event.Event) error   { return nil }
func (blank) Apply(*event.Event) error    { return nil }
func (blank) Encode() []byte              { return nil }
func (blank) Committed(es []*event.Event) {}
func (blank) Discard()                    {}
func verifyBig(t *testing.T, dir string) *verify.Report {
	t.Helper()
	r, err := verify.Dir(context.Background(), dir, verify.Options{NewState: func() verify.State { return blank{} }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPages: damage to the pages of the newest segment is found, named, and
// does not keep the verifier from what other pages hold.
func TestPages(t *testing.T) {
	original := t.TempDir()
	big(t, original)
	if r := verifyBig(t, original); !r.Sound() {
		t.Fatal(r.Faults)
	}
	put := func(b []byte, off int64, v uint64, size int) {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], v)
		copy(b[off:], w[:size])
	}
	// The newest versions of each page: old ones are free.
	find := func(t *testing.T, b []byte, flag uint16) int64 {
		all := pagesOf(t, b, flag)
		for _, off := range all {
			if flag != flagBranch || inUse(b, uint64(off/pageSize)) {
				return off
			}
		}
		t.Fatalf("no page with flag %#x", flag)
		return 0
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, b []byte)
		want   string // in a fault of class page
		events uint64 // at least so many are read all the same
	}{
		{"id of a leaf", func(t *testing.T, b []byte) { put(b, leafOf(t, b, 3), 999, 8) }, "it says that it is page 999", 80},
		{"flags of a leaf", func(t *testing.T, b []byte) { put(b, leafOf(t, b, 3)+8, flagFreelist, 2) }, "want a branch or a leaf", 80},
		{"overflow of a leaf", func(t *testing.T, b []byte) { put(b, leafOf(t, b, 3)+12, 1<<31, 4) }, "more pages", 80},
		{"count of a leaf", func(t *testing.T, b []byte) { put(b, leafOf(t, b, 3)+10, 0xffff, 2) }, "lies outside of the page", 80},
		{"position in a leaf", func(t *testing.T, b []byte) { put(b, leafOf(t, b, 3)+16+4, 1<<31, 4) }, "lies outside of the page", 95},
		{"size of a value", func(t *testing.T, b []byte) { put(b, leafOf(t, b, 3)+16+12, 1<<31, 4) }, "lies outside of the page", 95},
		{"size of a key", func(t *testing.T, b []byte) { put(b, leafOf(t, b, 3)+16+8, 1<<31, 4) }, "lies outside of the page", 95},
		{"branch that points to itself", func(t *testing.T, b []byte) {
			off := find(t, b, flagBranch)
			put(b, off+16+8, uint64(off/pageSize), 8)
		}, "in use twice", 80},
		{"branch that points outside", func(t *testing.T, b []byte) { put(b, find(t, b, flagBranch)+16+8, 1<<40, 8) }, "there are pages 2 to", 80},
		{"two children the same", func(t *testing.T, b []byte) {
			off := find(t, b, flagBranch)
			copy(b[off+16+8:off+16+16], b[off+32+8:off+32+16])
		}, "in use twice", 80},
		{"children swapped", func(t *testing.T, b []byte) {
			off := find(t, b, flagBranch)
			x := bytes.Clone(b[off+16+8 : off+16+16])
			copy(b[off+16+8:], b[off+32+8:off+32+16])
			copy(b[off+32+8:], x)
		}, "does not belong there", 80},
		{"no children", func(t *testing.T, b []byte) { put(b, find(t, b, flagBranch)+10, 0, 2) }, "without children", 0},
		{"one meta page", func(t *testing.T, b []byte) { b[pageSize+30] ^= 1 }, "meta page 1", 100},
		{"the other meta page", func(t *testing.T, b []byte) { b[30] ^= 1 }, "meta page 0", 100},
		{"used page in the freelist", func(t *testing.T, b []byte) {
			_, freelist, _ := metaOf(b)
			put(b, int64(freelist*pageSize)+16, uint64(leafOf(t, b, 3)/pageSize), 8)
		}, "a write would destroy it", 101},
		{"freelist that is none", func(t *testing.T, b []byte) {
			_, freelist, _ := metaOf(b)
			put(b, int64(freelist*pageSize)+8, flagLeaf, 2)
		}, "want a freelist", 101},
		{"freelist too long", func(t *testing.T, b []byte) {
			_, freelist, _ := metaOf(b)
			put(b, int64(freelist*pageSize)+10, 0xfffe, 2)
		}, "do not fit", 101},
		{"lost page", func(t *testing.T, b []byte) {
			_, freelist, _ := metaOf(b)
			off := int64(freelist*pageSize) + 10
			put(b, off, uint64(binary.LittleEndian.Uint16(b[off:]))-1, 2)
		}, "1 pages are neither in use nor free", 101},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyLedger(t, original)
			path := segments(t, dir)[0]
			b := read(t, path)
			c.damage(t, b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			r := verifyBig(t, dir)
			named := slices.ContainsFunc(r.Faults, func(f verify.Fault) bool {
				return f.Class == verify.ClassPage && strings.Contains(f.Detail, c.want)
			})
			if !named || r.ExitCode() != verify.ExitCorrupt || r.Events < c.events {
				t.Errorf("exit code %d, %d events, want %d and %q:\n%v", r.ExitCode(), r.Events, c.events, c.want, r.Faults)
			}
		})
	}
	t.Run("truncated", func(t *testing.T) {
		dir := copyLedger(t, original)
		_, _, high := metaOf(read(t, segments(t, dir)[0]))
		if err := os.Truncate(segments(t, dir)[0], int64(high-5)*pageSize+100); err != nil {
			t.Fatal(err)
		}
		if r := verifyBig(t, dir); !strings.Contains(fmt.Sprint(r.Faults), "the file ends after page") {
			t.Error(r.Faults)
		}
	})
}

// metaOf reads the meta page that counts.
func metaOf(b []byte) (txid, freelist, high uint64) {
	for _, off := range []int{0, pageSize} {
		m := b[off+16:]
		if id := binary.LittleEndian.Uint64(m[48:]); id >= txid {
			txid, freelist, high = id, binary.LittleEndian.Uint64(m[32:]), binary.LittleEndian.Uint64(m[40:])
		}
	}
	return txid, freelist, high
}

// trim cuts off what a file was grown by beyond its last page: it means nothing
// and only takes time to copy.
func trim(t testing.TB, path string) {
	t.Helper()
	if os.Getpagesize() != pageSize {
		return
	}
	_, _, high := metaOf(read(t, path))
	if err := os.Truncate(path, int64(high*pageSize)); err != nil {
		t.Fatal(err)
	}
}

// inUse tells whether a page is not in the freelist.
func inUse(b []byte, id uint64) bool {
	_, freelist, high := metaOf(b)
	p := b[freelist*pageSize:]
	for i := range int(binary.LittleEndian.Uint16(p[10:])) {
		if binary.LittleEndian.Uint64(p[16+8*i:]) == id {
			return false
		}
	}
	return id < high
}

// leafOf returns the offset of the leaf of events that is the n-th in the file.
func leafOf(t *testing.T, b []byte, n int) int64 {
	for _, off := range pagesOf(t, b, flagLeaf) {
		e := b[off+16:]
		keySize, size := binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])
		if inUse(b, uint64(off/pageSize)) && keySize == 8 && size > 100 {
			if n--; n == 0 {
				return off
			}
		}
	}
	t.Fatal("too few leaves")
	return 0
}

// TestRandomBytes changes random bytes of the newest segment, where no hash of
// the file helps: whenever the verifier calls it sound, bbolt must read the
// same events as before. bbolt reads in a process of its own, since a damaged
// page may kill it.
func TestRandomBytes(t *testing.T) {
	original := t.TempDir()
	big(t, original)
	want := readInChild(t, original)
	random := rand.New(rand.NewPCG(2, 6))
	sound := 0
	for range 300 {
		dir := copyLedger(t, original)
		path := segments(t, dir)[0]
		b := read(t, path)
		_, _, high := metaOf(b)
		off := random.Int64N(int64(high * pageSize))
		write(t, path, off, []byte{b[off] ^ byte(1<<random.IntN(8))})
		r := verifyBig(t, dir)
		if !r.Sound() {
			continue
		}
		// Most of them hit unused bytes; some are checked in full.
		if sound++; sound%8 != 0 {
			continue
		}
		if got := readInChild(t, dir); got != want {
			t.Fatalf("byte %d changed: the verifier finds nothing, and bbolt reads %s, before %s", off, got, want)
		}
	}
	t.Logf("%d of 300 changes hit bytes that mean nothing", sound)
}

// TestMain makes the test binary the child of its own tests.
func TestMain(m *testing.M) {
	dir := os.Getenv("VERIFY_TEST_DIR")
	switch os.Getenv("VERIFY_TEST_CHILD") {
	case "read":
		fmt.Print(readAll(dir))
	case "crash":
		o := verify.Options{Out: os.Stdout, NewState: func() verify.State { return &deadly{replayed{projector.New()}} }}
		_, err := verify.Dir(context.Background(), dir, o)
		fmt.Fprintln(os.Stderr, "not reached:", err)
	case "verify":
		if _, err := verify.Dir(context.Background(), dir, verify.Options{Out: os.Stdout, NewState: newState}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

func child(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "VERIFY_TEST_CHILD="+what, "VERIFY_TEST_DIR="+dir)
	return c
}

func readInChild(t *testing.T, dir string) string {
	t.Helper()
	out, err := child(t, "read", dir).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v: %.200s", err, out)
	}
	return string(out)
}

// readAll reads a ledger with bbolt and returns a digest of its events.
func readAll(dir string) string {
	a, err := ledger.OpenArchive(dir)
	if err != nil {
		return err.Error()
	}
	defer a.Close()
	sum, n := uint64(14695981039346656037), 0
	for r, err := range a.Raw(context.Background(), 0, 0) {
		if err != nil {
			return err.Error()
		}
		n++
		for _, c := range r.Bytes {
			sum = (sum ^ uint64(c)) * 1099511628211
		}
	}
	return fmt.Sprintf("%d events, %x", n, sum)
}

// deadly is a state whose third segment is fatal, as a bug could be.
type deadly struct{ replayed }

func (d *deadly) Apply(e *event.Event) error {
	if e.Seq == 150 {
		os.Exit(139)
	}
	return d.replayed.Apply(e)
}

// TestChild: the findings of a verification in another process arrive whole,
// and if it dies, those until then do, with the place where it died.
func TestChild(t *testing.T) {
	dir := t.TempDir()
	build(t, dir)
	flipInRecord(t, segments(t, dir)[0], 20)

	whole, short := check(t, dir)
	if got := fromChild(t, "verify", dir); fmt.Sprint(got.Faults) != fmt.Sprint(whole.Faults) || got.Events != whole.Events || got.ExitCode() != whole.ExitCode() {
		t.Errorf("from the child %+v, here %+v", got, whole)
	}
	if want := []string{"record 0 20", "hash 0 0"}; !slices.Equal(short, want) {
		t.Errorf("faults %q, want %q", short, want)
	}

	got := fromChild(t, "crash", dir)
	last := got.Faults[len(got.Faults)-1]
	if got.Faults[0].Class != verify.ClassRecord || last.Class != verify.ClassCrash || !strings.HasSuffix(segments(t, dir)[2], last.Segment) {
		t.Errorf("of a child that died: %v", got.Faults)
	}
	if got.ExitCode() != verify.ExitCorrupt || !strings.Contains(last.Detail, "exit status 139") {
		t.Errorf("of a child that died: exit code %d, %v", got.ExitCode(), last)
	}
}

func fromChild(t *testing.T, what, dir string) *verify.Report {
	t.Helper()
	c := child(t, what, dir)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	r, err := verify.ReadReport(out, func(verify.Progress) { seen++ }, c.Wait)
	if err != nil || seen == 0 {
		t.Fatalf("%d lines of progress, %v", seen, err)
	}
	return r
}

// TestReadReportNothing: a child that could not start is no verdict.
func TestReadReportNothing(t *testing.T) {
	died := io.ErrNoProgress
	if r, err := verify.ReadReport(strings.NewReader(""), nil, func() error { return died }); err == nil || !r.Sound() {
		t.Errorf("of nothing: %+v, %v", r, err)
	}
	if _, err := verify.ReadReport(strings.NewReader("panic: x"), nil, func() error { return died }); err == nil {
		t.Error("noise gave a report")
	}
}

// TestReadReportError: what kept a child from verifying is an error, and no
// fault of the ledger.
func TestReadReportError(t *testing.T) {
	dir := t.TempDir()
	build(t, dir)
	putMeta(t, segments(t, dir)[2], "layout", "99")
	c := child(t, "verify", dir)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := verify.ReadReport(out, nil, c.Wait)
	if err == nil || !strings.Contains(err.Error(), "layout 99") || !r.Sound() {
		t.Errorf("%v, faults %v", err, r.Faults)
	}
}

// FuzzFile: whatever a file holds, the verifier ends and reports.
func FuzzFile(f *testing.F) {
	dir := f.TempDir()
	build(f, dir)
	newest := segments(f, dir)[4]
	whole := read(f, newest)
	f.Add(uint32(100), []byte{1}, uint32(len(whole)))
	f.Add(uint32(4096), []byte{1, 2, 3, 4, 5, 6, 7, 8}, uint32(5000))
	f.Fuzz(func(t *testing.T, off uint32, change []byte, size uint32) {
		b := bytes.Clone(whole[:min(int(size), len(whole))])
		if int(off) < len(b) {
			copy(b[off:], change)
		}
		if err := os.WriteFile(newest, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := verify.Dir(context.Background(), dir, verify.Options{NewState: newState})
		if err != nil && !strings.Contains(err.Error(), "layout") {
			t.Fatal(err)
		}
		if err == nil && r.Events < 250 {
			t.Fatalf("only %d events of the sound segments", r.Events)
		}
	})
}
