package managed

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/daemontest"
)

func TestMain(m *testing.M) { os.Exit(daemontest.Main(m)) }

// manager is the tests' service manager: it listens to what a daemon tells.
type manager struct {
	address string // for NOTIFY_SOCKET
	conn    *net.UnixConn

	mu   sync.Mutex
	told []message
}

// message is one datagram, line by line, and whom the kernel says it is from.
type message struct {
	lines []string
	at    time.Time
	pid   int32
}

// newManager listens at a path in dir, or at an abstract address.
func newManager(t *testing.T, dir string, abstract bool) *manager {
	t.Helper()
	m := &manager{address: filepath.Join(dir, "notify")}
	if abstract {
		m.address = "@" + m.address
	}
	var err error
	if m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.address, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	raw, err := m.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() { defer close(over); m.listen() }()
	t.Cleanup(func() { m.conn.Close(); <-over })
	return m
}

func (m *manager) listen() {
	b, oob := make([]byte, 4096), make([]byte, 256)
	for {
		n, k, _, _, err := m.conn.ReadMsgUnix(b, oob)
		if err != nil {
			return
		}
		msg := message{lines: strings.Split(string(b[:n]), "\n"), at: time.Now()}
		if cs, err := unix.ParseSocketControlMessage(oob[:k]); err == nil && len(cs) == 1 {
			if cred, err := unix.ParseUnixCredentials(&cs[0]); err == nil {
				msg.pid = cred.Pid
			}
		}
		m.mu.Lock()
		m.told = append(m.told, msg)
		m.mu.Unlock()
	}
}

// messages are those so far.
func (m *manager) messages() []message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.told)
}

// count is how many messages from the nth on have the line.
func (m *manager) count(n int, line string) (count int) {
	for _, msg := range m.messages()[n:] {
		if slices.Contains(msg.lines, line) {
			count++
		}
	}
	return count
}

// await waits until a message from the nth on has the line, and returns the number
// of the one behind it.
func (m *manager) await(t *testing.T, n int, line string) int {
	t.Helper()
	at := -1
	daemontest.Eventually(t, "the manager is told "+line, func() bool {
		at = slices.IndexFunc(m.messages()[n:], func(msg message) bool { return slices.Contains(msg.lines, line) })
		return at >= 0
	})
	return n + at + 1
}

// listening is a socket that the manager holds at the path.
func listening(t *testing.T, kind, path string) *os.File {
	t.Helper()
	domain := map[string]int{"stream": unix.SOCK_STREAM, "datagram": unix.SOCK_DGRAM}[kind]
	fd, err := unix.Socket(unix.AF_UNIX, domain|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	if err == nil && kind == "stream" {
		err = unix.Listen(fd, 128)
	}
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { f.Close() })
	return f
}

// start starts a daemon as a service manager would: what it hands over begins with
// descriptor 3, and the variables name the process that gets it.
func start(t *testing.T, s *daemontest.Site, m *manager, sockets []*os.File, env ...string) *daemontest.Daemon {
	t.Helper()
	script := `exec "$0" --config "$1"`
	if len(sockets) > 0 {
		script = fmt.Sprintf(`export LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=control; `, len(sockets)) + script
	}
	cmd := exec.Command("/bin/sh", "-c", script, filepath.Join(s.Bin, "astridd"), s.Config)
	cmd.Env = append(os.Environ(), env...)
	if m != nil {
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+m.address)
	}
	cmd.ExtraFiles = sockets
	return s.StartCommand(t, cmd)
}
