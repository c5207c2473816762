package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/astrid-os/processledger/internal/control"
)

// patience bounds every wait for a condition.
const patience = 30 * time.Second

// binaries builds astridd and astrid-shim once and returns their directory,
// which TestMain removes.
var binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "astridctl-bin-")
	if err != nil {
		return "", err
	}
	binDir = dir
	cmd := exec.Command("go", "build", "-o", dir+"/", "../astridd", "../../host/shim/astrid-shim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// binDir is what binaries made, "" before.
var binDir string

// startDaemon starts astridd on DIR/data with the configuration DIR/astridd.toml,
// which it writes if it is missing, and waits until it is ready. The daemon
// ends with the script at the latest.
func startDaemon(ts *testscript.TestScript, dir string) {
	bin, err := binaries()
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Join(dir, "capsules"), 0o755))
	config := filepath.Join(dir, "astridd.toml")
	if _, err := os.Stat(config); err != nil {
		ts.Check(os.WriteFile(config, []byte("data_dir = \"data\"\ncapsules_dir = \"capsules\"\n"), 0o644))
	}
	cmd := exec.Command(filepath.Join(bin, "astridd"), "--config", config)
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	defer log.Close()
	cmd.Stderr = log
	ts.Check(cmd.Start())
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	daemons.Store(dir, &runningDaemon{cmd, done})
	ts.Defer(func() {
		stopKept(filepath.Join(dir, "data", "control.sock"))
		endDaemon(ts, dir, syscall.SIGTERM)
	})
	client := control.NewClient(filepath.Join(dir, "data", "control.sock"))
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() { // a daemon that ended will not become ready
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := client.WaitReady(ctx); err != nil {
		b, _ := os.ReadFile(filepath.Join(dir, "log"))
		ts.Fatalf("astridd: %v\n%s", err, b)
	}
}

// stopKept stops the persistent processes that a script which failed has left:
// nobody else will.
func stopKept(socket string) {
	client := control.NewClient(socket)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ps, err := client.Ps(ctx, true)
	if err != nil {
		return // no daemon runs any more
	}
	for _, h := range ps.Handles {
		if h.Tier == "persistent" {
			_, _ = client.Stop(ctx, &control.StopRequest{ID: h.ID})
		}
	}
}

// modules build an example capsule each, once, and return the directory that
// NAME.wasm is in.
var modules = map[string]func() (string, error){"workbench": module("workbench"), "devserver": module("devserver")}

func module(name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		bin, err := binaries()
		if err != nil {
			return "", err
		}
		cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", filepath.Join(bin, name+".wasm"), "../../examples/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=wasip1", "GOARCH=wasm")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return bin, nil
	})
}

func cmdCapsule(ts *testscript.TestScript, neg bool, args []string) {
	name := "workbench"
	if len(args) == 2 {
		name = args[1]
	}
	if build := modules[name]; neg || len(args) < 1 || len(args) > 2 || build == nil {
		ts.Fatalf("usage: capsule DIR [workbench|devserver]")
	}
	from, err := modules[name]()
	ts.Check(err)
	dir := filepath.Join(ts.MkAbs(args[0]), "capsules", name)
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(os.Link(filepath.Join(from, name+".wasm"), filepath.Join(dir, name+".wasm")))
	manifest, err := os.ReadFile("../../examples/" + name + "/Capsule.toml")
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, "Capsule.toml"), manifest, 0o644))
}

// cmdEventually runs astridctl until its standard output matches, bounded.
func cmdEventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || args[1] != "astridctl" {
		ts.Fatalf("usage: eventually REGEX astridctl ARGS")
	}
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec("astridctl", args[2:]...)
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no match for %q within %s, last error: %v", args[0], patience, err)
		}
	}
}

// cmdGone waits until a file is gone, bounded: a program's witness.
func cmdGone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone FILE")
	}
	path := ts.MkAbs(args[0])
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(path); err != nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s is still there after %s", path, patience)
		}
	}
}

// cmdFilled waits until a file has something in it, bounded.
func cmdFilled(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: filled FILE")
	}
	path := ts.MkAbs(args[0])
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("nothing is in %s after %s", path, patience)
		}
	}
}

// runningDaemon is a daemon that a script started.
type runningDaemon struct {
	cmd  *exec.Cmd
	done chan struct{}
}

var daemons sync.Map // by directory

// endDaemon sends the signal and waits for the end; no daemon is fine.
func endDaemon(ts *testscript.TestScript, dir string, sig os.Signal) {
	v, ok := daemons.LoadAndDelete(dir)
	if !ok {
		return
	}
	d := v.(*runningDaemon)
	_ = d.cmd.Process.Signal(sig) // it may have ended by itself
	select {
	case <-d.done:
	case <-time.After(patience):
		_ = d.cmd.Process.Kill()
		<-d.done
		ts.Fatalf("astridd did not end within %s", patience)
	}
}

func cmdDaemon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: daemon start|stop|kill DIR")
	}
	dir := ts.MkAbs(args[1])
	switch args[0] {
	case "start":
		startDaemon(ts, dir)
	case "stop":
		endDaemon(ts, dir, syscall.SIGTERM)
	case "kill":
		endDaemon(ts, dir, os.Kill)
	default:
		ts.Fatalf("daemon %s: use start, stop or kill", args[0])
	}
}

// hasDaemon tells whether a daemon can run here.
func hasDaemon() bool { return runtime.GOOS == "linux" }
