//go:build linux

package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	bolt "go.etcd.io/bbolt"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
	"github.com/astrid-os/processledger/projector"
)

func TestMain(m *testing.M) { os.Exit(daemontest.Main(m)) }

// plain builds the programs as they are shipped, without crash points.
var plain = sync.OnceValues(func() (string, error) {
	dir, err := daemontest.Binaries()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "plain")
	const module = "github.com/astrid-os/processledger/"
	cmd := exec.Command("go", "build", "-o", dir+"/", module+"cmd/astridd", module+"host/shim/astrid-shim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// newSite makes a site with the programs as they are shipped.
func newSite(b *testing.B, lines ...string) *daemontest.Site {
	b.Helper()
	dir, err := plain()
	if err != nil {
		b.Fatal(err)
	}
	s := daemontest.NewSite(b, lines...)
	for _, name := range []string{"astridd", "astrid-shim"} {
		if err := os.Remove(filepath.Join(s.Bin, name)); err != nil {
			b.Fatal(err)
		}
		if err := os.Link(filepath.Join(dir, name), filepath.Join(s.Bin, name)); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// figures are the times of several rounds by name, in milliseconds.
type figures map[string][]float64

func (f figures) add(name string, d time.Duration) {
	f[name] = append(f[name], float64(d.Microseconds())/1000)
}

// report reports the median of each figure.
func (f figures) report(b *testing.B) {
	for name, all := range f {
		slices.Sort(all)
		b.ReportMetric(all[len(all)/2], name)
	}
	b.ReportMetric(0, "ns/op")
}

// rounds starts a daemon, waits until it says that it is ready and kills it,
// again and again, and beside it, in the same rounds, what cannot be had for
// less: a program that does nothing, and bbolt opening the newest segment.
//
// Each start has to find so many living processes and adopt them all.
func rounds(b *testing.B, s *daemontest.Site, adopted uint32) {
	f := figures{}
	for range b.N {
		f.add("version-ms", timed(b, func() error { return exec.Command(filepath.Join(s.Bin, "astridd"), "--version").Run() }))
		f.add("bbolt-ms", timed(b, func() error { return openBare(s) }))
		began := time.Now()
		d := s.Start(b)
		st := awaitReady(b, s, d)
		f.add("ready-ms", time.Since(began))
		if r := st.Recovery; r != nil {
			f.add("recovery-ms", time.Duration(r.TookNano))
			if r.Adopted != adopted {
				b.Errorf("%d processes were adopted, %d live", r.Adopted, adopted)
			}
		}
		d.Kill(b)
		f.add("cpu-ms", d.Cmd.ProcessState.UserTime()+d.Cmd.ProcessState.SystemTime())
	}
	f.report(b)
}

func timed(b *testing.B, fn func() error) time.Duration {
	b.Helper()
	began := time.Now()
	if err := fn(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// openBare opens the newest segment with bbolt alone.
func openBare(s *daemontest.Site) error {
	files, err := segment.List(filepath.Join(s.Data, "ledger", "segments"))
	if err != nil {
		return err
	}
	db, err := bolt.Open(files[len(files)-1].Path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	return db.Close()
}

// awaitReady asks every millisecond.
func awaitReady(b *testing.B, s *daemontest.Site, d *daemontest.Daemon) *control.Status {
	b.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if st, err := s.Client.Status(b.Context()); err == nil && st.Phase == control.PhaseReady {
			return st
		}
	}
	b.Fatalf("not ready:\n%s", d.Tail())
	return nil
}

// BenchmarkReady is the time from the start of astridd to its answer that it is
// ready, after the one before was killed.
func BenchmarkReady(b *testing.B) {
	b.Run("empty", func(b *testing.B) { rounds(b, ranOnce(b), 0) })
	b.Run("capsule", func(b *testing.B) {
		s := newSite(b)
		s.WithDriver(b)
		rounds(b, s, 0)
	})
	b.Run("million", func(b *testing.B) {
		s := ranOnce(b)
		million(b, filepath.Join(s.Data, "ledger"))
		rounds(b, s, 0)
	})
	b.Run("thousand", func(b *testing.B) { rounds(b, crowd(b, 4, 250), 1000) })
}

// ranOnce is a site without capsules on which a daemon ran once.
func ranOnce(b *testing.B) *daemontest.Site {
	s := newSite(b)
	d := s.Start(b)
	awaitReady(b, s, d)
	d.Stop(b)
	return s
}

// million appends a million events to a ledger: whole lives of processes.
func million(b *testing.B, dir string) {
	b.Helper()
	l, err := projector.Open(dir, ledger.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; n < 1_000_000; {
		c, err := l.Decide(context.Background(), func(*projector.State, ledger.Header) (es []*event.Event, _ error) {
			for range 200 {
				es = append(es, life(n+len(es))...)
			}
			return es, nil
		})
		if err != nil {
			b.Fatal(err)
		}
		n += len(c.Events)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// life is a process from its request to its release.
func life(i int) []*event.Event {
	sc := event.Scope{
		Principal: fmt.Sprintf("agent-%02d", i%20), Capsule: fmt.Sprintf("capsule-%d", i%5),
		Instance: ulid.Make().String(), CallID: fmt.Sprintf("call-%d", i), Handle: ulid.Make(),
		Actor: event.Actor{Kind: event.ActorGuest},
	}
	id := event.Identity{PID: uint32(i), StartTicks: 99, PidfsHandle: make([]byte, 8), PidNamespace: 4026531836}
	zero, sum := int32(0), make([]byte, 32)
	var es []*event.Event
	for _, body := range []event.Body{
		&event.SpawnRequested{
			Tier: event.TierBackground, Command: "git", Args: []string{"fetch", "--depth", "1", "origin"}, ArgsCount: 4,
			Cwd: "src", EnvKeys: []string{"HOME", "GOCACHE", "GIT_DIR", "CI", "TERM", "EDITOR"}, Label: "git fetch",
		},
		&event.SpawnDecided{Outcome: event.OutcomeGranted, Isolation: "pidns", Cwd: "/src/project", RingBytes: 1 << 20},
		&event.ProcessStarted{
			Program: id, Shim: id, Isolation: "pidns", StartedWall: 1_700_000_000e9, StartedBoot: 5e12,
			Executable: event.File{Path: "/usr/bin/git", Device: 1, Inode: 2, SHA256: sum},
		},
		&event.ProcessExited{
			Exit: event.Exit{Code: &zero}, Cause: "self", UserNano: 1e6, SystemNano: 1e6, MaxRSSKiB: 9000,
			Stdout: event.StreamSummary{Bytes: 100, SHA256: sum}, Stderr: event.StreamSummary{SHA256: sum},
			EndedWall: 1_700_000_001e9, EndedBoot: 5e12,
		},
		&event.HandleReleased{Reason: "dropped"},
	} {
		es = append(es, &event.Event{Scope: sc, Body: body})
	}
	return es
}

// crowd is a site with persistent processes that live and do nothing: as many
// of each of some capsules, because one capsule may keep 256, and a principal
// 32 of them.
func crowd(b *testing.B, capsules, each int) *daemontest.Site {
	b.Helper()
	s := newSite(b, "[quotas]", "max_background_processes = 256", "max_capsule_processes = 256")
	s.WithDriver(b)
	for i := 1; i < capsules; i++ {
		copyCapsule(b, s, capsuleName(i))
	}
	b.Cleanup(func() { endAll(b, s) })
	d := s.Start(b)
	awaitReady(b, s, d)
	var all sync.WaitGroup
	for c := range capsules {
		all.Go(func() {
			for done, p := 0, 0; done < each; p++ {
				n := min(32, each-done)
				spawnKept(b, s, capsuleName(c), fmt.Sprintf("agent-%d", p), n)
				done += n
			}
		})
	}
	all.Wait()
	d.Kill(b)
	return s
}

func capsuleName(i int) string {
	if i == 0 {
		return "driver"
	}
	return fmt.Sprintf("driver%d", i)
}

// copyCapsule installs the driver under another name.
func copyCapsule(b *testing.B, s *daemontest.Site, name string) {
	b.Helper()
	from, to := filepath.Join(s.Data, "capsules", "driver"), filepath.Join(s.Data, "capsules", name)
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		b.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(from, "Capsule.toml"))
	if err != nil {
		b.Fatal(err)
	}
	daemontest.WriteFile(b, filepath.Join(to, "Capsule.toml"), strings.Replace(string(manifest), `name = "driver"`, `name = "`+name+`"`, 1))
}

// spawnKept has a capsule start n persistent processes that wait for their input.
func spawnKept(b *testing.B, s *daemontest.Site, capsule, principal string, n int) {
	steps := make([]daemontest.Step, n)
	for i := range steps {
		steps[i] = daemontest.Step{Op: "persistent", Name: fmt.Sprintf("p%d", i), Cmd: "sh", Args: []string{"-c", "read line"}}
	}
	out, err := s.DriveCapsule(context.Background(), capsule, principal, "crowd", steps...)
	if err != nil {
		b.Error(err)
	}
	for _, o := range out {
		if o.Err != "" {
			b.Error(o.Err)
		}
	}
}

// endAll kills what still runs of a site: its programs go with their shims.
func endAll(b *testing.B, s *daemontest.Site) {
	for _, pid := range s.Processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	daemontest.Eventually(b, "all processes have ended", func() bool { return len(s.Processes()) == 0 })
}
