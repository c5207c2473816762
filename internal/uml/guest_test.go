//go:build linux

package uml

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger/event"
)

// bootVar numbers the boot: the kernel's command line is the environment of its
// first process.
const bootVar = "ASTRID_UML_BOOT"

// mark begins each line that the host reads.
const mark = "astrid-uml: "

// disk is where the machine has the data directory.
const disk = "/mnt"

func TestMain(m *testing.M) {
	if os.Getenv(bootVar) == "" {
		os.Exit(daemontest.Main(m))
	}
	if os.Getpid() == 1 {
		first()
	}
	if err := work(os.Getenv(bootVar)); err != nil {
		say("failed", err.Error())
		os.Exit(1)
	}
	say("done", nil)
}

// say tells the host something.
func say(what string, v any) {
	b, err := json.Marshal(map[string]any{what: v})
	if err != nil {
		b = []byte(fmt.Sprintf(`{"failed":%q}`, err))
	}
	fmt.Printf("\n%s%s\n", mark, b)
}

// first is the first process of the machine: it mounts, has the work done, reaps
// whoever is orphaned, and switches the machine off if nobody does before.
func first() {
	err := errors.Join(
		unix.Mount("proc", "/proc", "proc", 0, ""),
		unix.Mount("tmpfs", "/tmp", "tmpfs", 0, ""),
		unix.Mount("/dev/ubda", disk, "ext4", 0, ""),
	)
	if err != nil {
		say("failed", err.Error())
		off()
	}
	pid, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env:   append(os.Environ(), "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "TMPDIR=/tmp", "HOME=/tmp"),
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		say("failed", err.Error())
		off()
	}
	for {
		got, err := syscall.Wait4(-1, nil, 0, nil)
		if got == pid || err != nil && err != syscall.EINTR {
			break
		}
	}
	if os.Getenv(bootVar) == "1" {
		select {} // the host cuts the power
	}
	off()
}

// off switches the machine off; it does not return.
func off() {
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

// site is the daemon's place on the disk.
var site = &daemontest.Site{
	Dir: disk, Bin: disk + "/bin", Data: disk + "/data", Config: disk + "/astridd.toml",
	Client: control.NewClient(disk + "/data/control.sock"),
}

func work(boot string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	describe()
	if boot == "1" {
		return beforeTheCut(ctx)
	}
	return afterTheCut(ctx)
}

// describe tells the host what machine this is.
func describe() {
	var u unix.Utsname
	_ = unix.Uname(&u)
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	fd, _ := unix.PidfdOpen(os.Getpid(), 0)
	_, _, handle := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	unix.Close(fd)
	const version = 1 // LANDLOCK_CREATE_RULESET_VERSION
	_, _, landlock := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, version)
	say("machine", machine{
		Kernel: unix.ByteSliceToString(u.Release[:]), Boot: string(id),
		Pidfs: handle == nil, Landlock: landlock == 0,
	})
}

// machine is what the guest tells of itself.
type machine struct {
	Kernel, Boot    string
	Pidfs, Landlock bool
}

// daemon starts astridd and waits until it is ready.
func daemon(ctx context.Context) (*exec.Cmd, *control.Status, error) {
	log, err := os.OpenFile(disk+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(site.Bin, "astridd"), "--config", site.Config)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	status, err := site.Client.WaitReady(ctx)
	if err != nil {
		text, _ := os.ReadFile(disk + "/log")
		return nil, nil, fmt.Errorf("the daemon is not ready: %w\n%s", err, text)
	}
	return cmd, status, nil
}

// start has the driver start lasting programs, each by an operation of its own.
func start(ctx context.Context, ops map[string]string) error {
	var steps []daemontest.Step
	for name, op := range ops {
		s := site.Program(op, name, daemontest.Lasting)
		s.LifetimeMS, s.RetentionMS = 3600_000, 3600_000
		steps = append(steps, s)
	}
	out, err := site.Drive(ctx, "alice", "call", steps...)
	if err != nil {
		return err
	}
	for _, o := range out {
		if o.Err != "" {
			return errors.New(o.Err)
		}
	}
	for name := range ops {
		if err := until(name+" runs", func() bool { return site.Wrote(name, "start") }); err != nil {
			return err
		}
	}
	return nil
}

func until(what string, ok func() bool) error {
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("never came true: %s", what)
		}
	}
	return nil
}

// beforeTheCut runs processes of both tiers, kills the daemon under them, has the
// next take one in, kills that one too, and lets one program end while its shim is
// alone.
func beforeTheCut(ctx context.Context) error {
	cmd, _, err := daemon(ctx)
	if err != nil {
		return err
	}
	if err := start(ctx, map[string]string{"kept": "persistent", "owned": "background"}); err != nil {
		return err
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	cmd, status, err := daemon(ctx)
	if err != nil {
		return err
	}
	say("recovery", status.Recovery)
	if err := start(ctx, map[string]string{"ended": "persistent", "running": "background"}); err != nil {
		return err
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	before := exits()
	if err := os.WriteFile(filepath.Join(site.Witness(), "gate-ended"), nil, 0o600); err != nil {
		return err
	}
	return until("the shim has recorded the exit alone", func() bool { return exits() == before+1 })
}

// exits counts the exit records.
func exits() int {
	names, _ := filepath.Glob(site.Data + "/processes/*/exit")
	return len(names)
}

// afterTheCut has a daemon find what the cut has left, and tells what it found.
func afterTheCut(ctx context.Context) error {
	left, _ := os.ReadDir(site.Data + "/processes")
	say("directories", len(left))
	cmd, status, err := daemon(ctx)
	if err != nil {
		return err
	}
	say("recovery", status.Recovery)
	say("live", status.Live)
	if err := tellEnds(ctx); err != nil {
		return err
	}
	// It works on after that.
	out, err := site.Drive(ctx, "alice", "call", site.Program("spawn", "quick", daemontest.Quick))
	if err != nil || len(out) != 1 || out[0].Err != "" {
		return fmt.Errorf("a spawn after the cut: %+v, %w", out, err)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("the daemon's end: %w", err)
	}
	return nil
}

// fate is how a process ended, as the ledger has it.
type fate struct {
	Name    string // of the program
	Adopted int
	End     string // "exited" or "lost"
	Reason  string // of a loss
	Code    int32  // of an exit; -1 for a signal
	Cause   string
	Restart bool // it was seen after a restart only
	Handles bool // the identities recorded have a pidfs handle
}

// tellEnds tells the host of every process in the ledger.
func tellEnds(ctx context.Context) error {
	stream, err := site.Client.Events(ctx, &control.EventsQuery{Filter: query.Filter{}})
	if err != nil {
		return err
	}
	defer stream.Close()
	fates := map[string]*fate{}
	for e, err := range stream.All() {
		if err != nil {
			return err
		}
		id := e.Scope.Handle.String()
		f := fates[id]
		switch b := e.Body.(type) {
		case *event.SpawnRequested:
			fates[id] = &fate{Name: b.Args[len(b.Args)-2]}
		case *event.ProcessStarted:
			f.Handles = len(b.Program.PidfsHandle)+len(b.Shim.PidfsHandle) > 0
		case *event.ProcessAdopted:
			f.Adopted++
		case *event.ProcessExited:
			f.End, f.Cause, f.Restart, f.Code = "exited", b.Cause, b.AfterRestart, -1
			if b.Exit.Code != nil {
				f.Code = *b.Exit.Code
			}
		case *event.ProcessLost:
			f.End, f.Reason = "lost", b.Reason
		}
	}
	for _, f := range fates {
		say("fate", f)
	}
	return nil
}
