//go:build linux

package uml

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
)

// kernel is the machine's, in Debian's package user-mode-linux.
const kernel = "linux.uml"

// bootBound is how long a boot may take: seconds, on a quiet machine.
const bootBound = 10 * time.Minute

// told is what a boot said.
type told struct {
	Machine     machine
	Recovery    control.Recovery
	Directories int
	Live        int
	Fates       map[string]fate
	Failed      string
	Done        bool
}

// TestAnOldKernelAndARealReboot is the whole of `make uml`.
func TestAnOldKernelAndARealReboot(t *testing.T) {
	if os.Getenv("ASTRID_UML") == "" {
		t.Skip("a run of its own: `make uml`")
	}
	for _, tool := range []string{kernel, "mke2fs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not here: apt-get install user-mode-linux e2fsprogs", tool)
		}
	}
	s := daemontest.NewSite(t)
	s.WithDriver(t)
	if err := os.Mkdir(s.Witness(), 0o755); err != nil {
		t.Fatal(err)
	}
	s.ConfigureText(t, "data_dir = \"data\"\nisolation = \"pidns\"\n")
	image := diskOf(t, s)

	first := boot(t, image, "1", true)
	if first.Machine.Pidfs || first.Machine.Landlock {
		t.Errorf("this kernel is too new to show anything: %+v", first.Machine)
	}
	if r := first.Recovery; r.Adopted != 1 || r.Ended != 1 || r.Lost != 0 {
		t.Errorf("under the killed daemon: recovery found %+v, want one adopted, one ended as owner-lost", r)
	}
	second := boot(t, image, "2", false)
	check(t, first, second)
	t.Logf("%s: adopted by number and start time on one boot; after the power cut, on another: %+v", second.Machine.Kernel, second.Recovery)
}

// check compares what the second boot found with what the first had left.
func check(t *testing.T, first, second told) {
	if first.Machine.Boot == second.Machine.Boot || second.Machine.Boot == "" {
		t.Errorf("the boot id is %q, and was %q: that was no reboot", second.Machine.Boot, first.Machine.Boot)
	}
	if second.Directories < 3 || second.Live != 0 {
		t.Errorf("%d process directories were left, %d processes are live", second.Directories, second.Live)
	}
	// One that is not settled when recovery finishes is settled after it.
	if r := second.Recovery; r.Adopted != 0 || r.Lost+r.Exited+r.Pending != 3 || r.LostReboot != r.Lost || r.LostMaybe != 0 {
		t.Errorf("after the cut: recovery found %+v, want two lost by reboot, one exited, none adopted", r)
	}
	for name, want := range map[string]fate{
		"kept":    {Adopted: 1, End: "lost", Reason: "reboot"},
		"owned":   {End: "exited", Code: -1, Cause: "owner-lost", Restart: true},
		"running": {End: "lost", Reason: "reboot"},
		"ended":   {End: "exited", Cause: "self", Restart: true},
	} {
		want.Name = "nonce-" + name
		if got, ok := second.Fates[want.Name]; !ok || got != want {
			t.Errorf("%s: the ledger says %+v, want %+v", name, got, want)
		}
	}
}

// diskOf makes an ext4 image of a site.
func diskOf(t *testing.T, s *daemontest.Site) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(512 << 20) // sparse
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if out, err := exec.Command("mke2fs", "-q", "-F", "-t", "ext4", "-d", s.Dir, image).CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	return image
}

// boot starts the machine and listens until it is done; then its power is cut, or
// it switches itself off.
func boot(t *testing.T, image, number string, cut bool) (said told) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(kernel, "mem=768M", "ubd0="+image, "root=none", "rootfstype=hostfs", "rootflags=/", "ro", "quiet",
		"con0=null,fd:1", "con=null", "uml_dir="+dir, "init="+exe, bootVar+"="+number)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var console bytes.Buffer
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = cmd.Stdout
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	power := time.AfterFunc(bootBound, func() { cutPower(cmd) })
	defer power.Stop()
	said.Fates = map[string]fate{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		console.Write(append(lines.Bytes(), '\n'))
		if !said.take(lines.Text()) || said.Failed != "" || said.Done && cut {
			break
		}
	}
	if cut || said.Failed != "" {
		cutPower(cmd)
	}
	_ = cmd.Wait()
	cutPower(cmd) // what is left of its group
	if said.Failed != "" || !said.Done {
		t.Fatalf("boot %s failed: %s\n%s", number, said.Failed, console.Bytes())
	}
	return said
}

// cutPower cuts the power: the machine is a process and its helpers, in one group.
func cutPower(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// take reads a line of the console; false says that it cannot be read.
func (s *told) take(line string) bool {
	_, text, ok := strings.Cut(line, mark)
	if !ok {
		return true
	}
	var said map[string]json.RawMessage
	if err := json.Unmarshal([]byte(strings.TrimSpace(text)), &said); err != nil {
		s.Failed = "said " + text
		return false
	}
	var err error
	for what, v := range said {
		switch what {
		case "machine":
			err = json.Unmarshal(v, &s.Machine)
		case "recovery":
			err = json.Unmarshal(v, &s.Recovery)
		case "directories":
			err = json.Unmarshal(v, &s.Directories)
		case "live":
			err = json.Unmarshal(v, &s.Live)
		case "fate":
			var f fate
			err = json.Unmarshal(v, &f)
			s.Fates[f.Name] = f
		case "failed":
			err = json.Unmarshal(v, &s.Failed)
		case "done":
			s.Done = true
		}
	}
	if err != nil {
		s.Failed = err.Error()
	}
	return err == nil
}
