package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/astrid-os/processledger/internal/control"
)

// TestMain is also what the tests below run as another process: a client, and
// whoever stands above it.
func TestMain(m *testing.M) {
	socket := os.Getenv("SERVE_TEST_SOCKET")
	switch os.Getenv("SERVE_TEST_ROLE") {
	case "client":
		_, err := control.NewClient(socket).Status(context.Background())
		fmt.Println(control.ExitCode(err), err)
		os.Exit(0)
	case "parent": // of a client
		out, err := role("client", socket).CombinedOutput()
		fmt.Print(string(out))
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func role(name, socket string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "SERVE_TEST_ROLE="+name, "SERVE_TEST_SOCKET="+socket)
	return cmd
}

// TestAProgramOfACapsuleIsNoOperator holds that the daemon's own uid is not
// enough: neither inside a namespace nor below a shim.
func TestAProgramOfACapsuleIsNoOperator(t *testing.T) {
	h := start(t)
	for _, c := range []struct {
		name string
		cmd  func(*exec.Cmd)
		want string // start of the output
		text string
	}{
		{"an operator", func(*exec.Cmd) {}, "0 ", "nil"},
		{"in a namespace", func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
			if os.Geteuid() != 0 {
				cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
				cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
			}
		}, "5 ", "another PID namespace"},
		{"below a shim", func(cmd *exec.Cmd) { cmd.Args = []string{"astrid-shim", "shim"} }, "5 ", "a program of a capsule"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := role("parent", h.client.Socket())
			c.cmd(cmd)
			out, err := cmd.CombinedOutput()
			if errors.Is(err, syscall.EPERM) {
				t.Skipf("no namespaces here: %v", err)
			}
			if err != nil || !strings.HasPrefix(string(out), c.want) || !strings.Contains(string(out), c.text) {
				t.Errorf("got %q, %v", out, err)
			}
		})
	}
}
