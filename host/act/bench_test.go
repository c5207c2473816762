//go:build linux

package act

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/astrid-os/processledger/ledger/event"
)

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// BenchmarkSpawn compares, turn by turn in one run, os/exec of /bin/true with
// the whole way of ours: a decision committed to a real ledger, a shim, go, and
// the exit record; and the part of it that is the commit.
func BenchmarkSpawn(b *testing.B) {
	for _, mode := range []string{IsolationPIDNS, IsolationNone} {
		b.Run(mode, func(b *testing.B) {
			h := newHouse(b, mode)
			var raw, ours, prepare, commit []time.Duration
			for b.Loop() {
				t0 := time.Now()
				if err := exec.Command("/bin/true").Run(); err != nil {
					b.Fatal(err)
				}
				t1 := time.Now()
				s := h.spec("/bin/true")
				c := h.prepare(s)
				t2 := time.Now()
				r := h.decided(s.ID)
				t3 := time.Now()
				if err := c.Go(r); err != nil {
					b.Fatal(err)
				}
				h.exited(c)
				t4 := time.Now()
				if err := h.hands.Trash(h.commit(s.ID, &event.HandleReleased{}), s.ID); err != nil {
					b.Fatal(err)
				}
				raw, ours, prepare, commit = append(raw, t1.Sub(t0)), append(ours, t4.Sub(t1)), append(prepare, t2.Sub(t1)), append(commit, t3.Sub(t2))
			}
			ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
			b.ReportMetric(ms(median(raw)), "raw-ms")
			b.ReportMetric(ms(median(ours)), "ours-ms")
			b.ReportMetric(ms(median(prepare)), "prepare-ms")
			b.ReportMetric(ms(median(commit)), "commit-ms")
			b.ReportMetric(ms(median(ours))/ms(median(raw)), "ours/raw")
		})
	}
}

// BenchmarkOutput compares a program that writes flat out through its shim with
// the same one before a `cat >/dev/null`.
func BenchmarkOutput(b *testing.B) {
	const size = 256 << 20
	h := newHouse(b, IsolationNone)
	var bare, ours []time.Duration
	for b.Loop() {
		t0 := time.Now()
		if err := exec.Command("sh", "-c", fmt.Sprintf("head -c %d /dev/zero | cat >/dev/null", size)).Run(); err != nil {
			b.Fatal(err)
		}
		t1 := time.Now()
		s := h.spec("head", "-c", strconv.Itoa(size), "/dev/zero")
		s.RingBytes = 1 << 20
		x, _ := h.run(s)
		t2 := time.Now()
		if x.Exited.Stdout.Bytes != size {
			b.Fatal(x)
		}
		bare, ours = append(bare, t1.Sub(t0)), append(ours, t2.Sub(t1))
	}
	mb := func(d time.Duration) float64 { return size / 1e6 / d.Seconds() }
	b.ReportMetric(mb(median(bare)), "cat-MB/s")
	b.ReportMetric(mb(median(ours)), "shim-MB/s")
	b.ReportMetric(mb(median(ours))/mb(median(bare)), "shim/cat")
}

// BenchmarkShimMemory reports what one shim of a quiet program holds, beside
// others of the same binary.
func BenchmarkShimMemory(b *testing.B) {
	h := newHouse(b, IsolationPIDNS)
	const n = 20
	var shims []event.Identity
	var children []*Child
	for range n {
		c := h.start(h.spec("sleep", "1000"))
		shims = append(shims, h.started(c).Shim)
		children = append(children, c)
	}
	for b.Loop() {
		var total int
		for _, s := range shims {
			total += pss(b, s.PID)
		}
		b.ReportMetric(float64(total)/n, "PSS-KiB")
	}
	for _, c := range children {
		h.kill(c)
	}
}

func pss(b *testing.B, pid uint32) int {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Skip(err)
	}
	defer f.Close()
	all, err := io.ReadAll(f)
	if err != nil {
		b.Skip(err) // a shim is not dumpable: only root may look
	}
	for _, line := range bytes.Split(all, []byte{'\n'}) {
		if rest, ok := bytes.CutPrefix(line, []byte("Pss:")); ok {
			n, err := strconv.Atoi(string(bytes.Fields(rest)[0]))
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// BenchmarkReadSince reads a full ring by position, in chunks of a size; 4 MiB
// is the contract's largest.
func BenchmarkReadSince(b *testing.B) {
	for _, chunk := range []int{4 << 10, 64 << 10, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", chunk>>10), func(b *testing.B) {
			h := newHouse(b, IsolationNone)
			s := h.sh("head -c 8388608 /dev/zero; sleep 1000")
			s.RingBytes = 8 << 20
			c := h.start(s)
			h.started(c)
			h.until("the ring is full", func() bool { return c.Written()[0] == 8<<20 })
			b.SetBytes(int64(chunk))
			pos := uint64(0)
			for b.Loop() {
				data, from, _, err := c.ReadSince(Stdout, pos, chunk)
				if err != nil || len(data) != chunk {
					b.Fatalf("%d bytes, %v", len(data), err)
				}
				pos = (from + uint64(chunk)) % (8 << 20)
			}
			h.kill(c)
		})
	}
}
