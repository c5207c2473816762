package managed

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/internal/daemontest"
)

const units = "../../cmd/astridd/systemd"

// readUnit reads a unit file: the values of each key of each section.
func readUnit(t *testing.T, name string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(units, name))
	if err != nil {
		t.Fatal(err)
	}
	keys, section := map[string][]string{}, ""
	for i, line := range strings.Split(string(b), "\n") {
		key, value, assigned := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			section = line
		case !assigned || section == "" || strings.TrimSpace(key) != key:
			t.Errorf("%s:%d: %q is no assignment", name, i+1, line)
		default:
			keys[section+key] = append(keys[section+key], value)
		}
	}
	return keys
}

// TestUnits holds what the daemon relies on, and that nothing is set that would keep
// it from running programs or take them along.
func TestUnits(t *testing.T) {
	service, socket := readUnit(t, "astridd.service"), readUnit(t, "astridd.socket")
	for key, want := range map[string]string{
		"[Service]Type": "notify", "[Service]NotifyAccess": "main", "[Service]KillMode": "process", "[Service]Delegate": "yes",
		"[Service]OOMPolicy": "continue", "[Service]Restart": "always", "[Service]RestartPreventExitStatus": "2",
		"[Service]WatchdogSec": "60s", "[Unit]Requires": "astridd.socket", "[Unit]StartLimitIntervalSec": "0",
	} {
		if got := service[key]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, not %q", key, got, want)
		}
	}
	path := socket["[Socket]ListenStream"]
	if len(path) != 1 || !strings.HasPrefix(path[0], "/") || len(path[0]) > 107 {
		t.Fatalf("ListenStream is %q", path)
	}
	if reload := strings.Join(service["[Service]ExecReload"], ""); !strings.Contains(reload, "--socket "+path[0]+" daemon restart") {
		t.Errorf("ExecReload is %q", reload)
	}
	for _, key := range []string{
		"RestrictNamespaces", "PrivateUsers", "PrivatePIDs", "ProtectProc", "ProcSubset", "ProtectKernelTunables", "ProtectKernelLogs",
		"ProtectControlGroups", "MemoryDenyWriteExecute", "PrivateTmp", "ProtectSystem", "ProtectHome", "RuntimeDirectory",
		"SystemCallFilter", "SystemCallArchitectures", "DynamicUser",
	} {
		if got, set := service["[Service]"+key]; set {
			t.Errorf("%s=%s would break it", key, got)
		}
	}
	t.Run("systemd-analyze", func(t *testing.T) { analyze(t) })
}

// analyze has systemd itself read the units, where it is installed.
func analyze(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("without systemd-analyze the units are read by this test alone")
		return
	}
	bin, err := daemontest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"astridd.service", "astridd.socket"} {
		b, err := os.ReadFile(filepath.Join(units, name))
		if err != nil {
			t.Fatal(err)
		}
		// Its programs have to be there, and its user.
		text := strings.NewReplacer("/usr/local/bin/astridd", filepath.Join(bin, "astridd"), "/usr/local/bin/astridctl", "/bin/true",
			"=astrid\n", "=root\n").Replace(string(b))
		daemontest.WriteFile(t, filepath.Join(dir, name), text)
	}
	cmd := exec.Command(tool, "verify", "--man=no", "--recursive-errors=no", filepath.Join(dir, "astridd.service"), filepath.Join(dir, "astridd.socket"))
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "Unknown") || strings.Contains(string(out), "Failed to parse") {
		t.Errorf("%v: %s", err, out)
	}
}
