//go:build linux

package act

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// attack defines `harm FILE`, all that a program may try against a file of the
// host's, and against the directories above it that are below $OURS. Whatever
// works prints a line.
const attack = `
try() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo "HARM $name"; fi; }
harm() {
	f=$1; d=$(dirname "$f"); echo evil >evil
	try "write $f" sh -c "echo evil >'$f'"
	try "append $f" sh -c "echo evil >>'$f'"
	try "truncate $f" truncate -s 0 "$f"
	try "chmod $f" chmod 666 "$f"
	try "chown $f" chown 12345 "$f"
	try "touch $f" touch "$f"
	try "unlink $f" rm -f "$f"
	try "rename $f" mv "$f" "$f.old"
	try "replace $f" mv -f evil "$f"
	try "link $f" ln -f evil "$f"
	try "symlink $f" ln -sfT evil "$f"
	try "remount $f" mount -o remount,rw "$f"
	try "remount-bind $f" mount -o remount,bind,rw "$f"
	try "remount-dir $f" mount -o remount,rw "$d"
	try "umount $f" umount "$f"
	try "umount-lazy $f" umount -l "$f"
	try "umount-dir $f" umount -l "$d"
	try "bind $f" mount --bind evil "$f"
	try "bind-dir $f" mount --bind . "$d"
	while [ "${d#$OURS/}" != "$d" ]; do
		try "rename $d" mv "$d" "$d.old"
		d=$(dirname "$d")
	done
}
escape() {
	try user-namespace unshare -Urm true
	try mount-namespace unshare -m true
	try enter nsenter -t 1 -m true
	try chroot chroot / true
}
`

// fileHouse is a house with a workspace and a place outside of it.
func fileHouse(t *testing.T) (h *house, workspace, outside string) {
	h = newHouse(t, IsolationPIDNS)
	workspace, outside = filepath.Join(h.dir, "workspace"), filepath.Join(h.dir, "outside")
	for _, dir := range []string{workspace, filepath.Join(workspace, "sub", "deep"), outside} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return h, workspace, outside
}

// with is a script in the workspace with files.
func (h *house) with(workspace, script string, files ...File) Spec {
	s := h.sh(script)
	s.Dir, s.Workspace, s.Files = workspace, workspace, files
	s.Env = append(s.Env, "OURS="+h.dir)
	return s
}

func mountinfo(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tree lists all names below a directory with their contents.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || strings.Contains(path, "processes") || strings.Contains(path, "trash") {
			return err
		}
		content, _ := os.ReadFile(path)
		fmt.Fprintln(&b, path, info.Mode(), string(content))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestInjectedFilesAreReadAndNothingElse(t *testing.T) {
	h, workspace, outside := fileHouse(t)
	existing, link := filepath.Join(outside, "existing"), filepath.Join(workspace, "sub", "link")
	os.WriteFile(existing, []byte("the host's"), 0o644)
	os.Symlink(existing, link)
	paths := []string{
		"/etc/vendor-tool/managed.json", // neither it nor its directory is there
		"/astrid-test-top/a/b.json",     // nothing of it
		existing,
		link, // the link is covered, not what it names
		filepath.Join(outside, "new", "dir", "file"),
		filepath.Join(workspace, "sub", "deep", "file"),
		filepath.Join(workspace, "top"),
	}
	files := []File{{EnvKey: "POLICY", Content: []byte("policy")}, {EnvKey: "EMPTY"}}
	script := attack + `cd sub/deep; mkdir -p "$OURS/out"; cd "$OURS/out"; harm "$POLICY"; harm "$EMPTY"; escape; `
	check := `for f in "$POLICY" "$EMPTY" `
	want := "[policy]\n[]\n"
	for i, p := range paths {
		files = append(files, File{Path: p, Content: []byte(fmt.Sprint("content ", i))})
		script += "harm '" + p + "'; "
		check += "'" + p + "' "
		want += fmt.Sprintf("[content %d]\n", i)
	}
	check += `; do echo "[$(cat "$f")]"; grep -F "$f" /proc/self/mountinfo | grep -vF " ro,nosuid,nodev,noexec,"; done; `
	os.Mkdir(filepath.Join(h.dir, "out"), 0o755)
	mounts, disk := mountinfo(t), tree(t, h.dir)
	// Before, after, and by a program's program that was exec'ed.
	s := h.with(workspace, check+script+check+`exec sh -c 'exec sh -c "$0"' '`+check+`'`, files...)
	x, c := h.run(s)
	out, errs := h.drain(c)
	if out != want+want+want {
		t.Errorf("out: %s\nwant three times: %s\nerr: %s\n%s", out, want, errs, show(Notice{Exited: x}))
	}
	if !strings.HasSuffix(c.Isolation(), "+files") {
		t.Errorf("isolation %q does not tell of the files", c.Isolation())
	}
	os.Remove(filepath.Join(h.dir, "out", "evil"))
	h.until("the shim is gone", func() bool { return h.look(s.ID).Dead })
	if mountinfo(t) != mounts {
		t.Error("mounts leaked to the host")
	}
	if now := tree(t, h.dir); now != disk {
		t.Errorf("the disk was\n%sand is\n%s", disk, now)
	}
}

// What is beside an injected file is what the machine has there, and can be
// used as before.
func TestInjectedFilesHideNothingElse(t *testing.T) {
	h, workspace, outside := fileHouse(t)
	os.WriteFile(filepath.Join(outside, "beside"), []byte("beside"), 0o644)
	os.WriteFile(filepath.Join(workspace, "mine"), []byte("mine"), 0o644)
	os.Symlink("mine", filepath.Join(workspace, "alias"))
	s := h.with(workspace, `
		cat "$OURS/outside/beside" mine alias; echo
		echo changed >mine && echo made >sub/made && mv sub/made sub/deep/ && echo kept
		tmp=$(mktemp) && echo echo scratch >"$tmp" && chmod +x "$tmp" && "$tmp"
		ls -d /etc /usr /bin /dev/null /proc/self | tr '\n' ' '
		{ echo top >new; } 2>/dev/null || echo refused`,
		File{Path: filepath.Join(outside, "policy")}, File{Path: filepath.Join(workspace, "policy")}, File{Path: "/tmp/astrid-test-policy"})
	_, c := h.run(s)
	out, errs := h.drain(c)
	want := "besideminemine\nkept\nscratch\n/bin /dev/null /etc /proc/self /usr refused\n"
	if out != want || errs != "" {
		t.Errorf("out %q, want %q\nerr %s", out, want, errs)
	}
	for path, want := range map[string]string{"mine": "changed\n", "sub/deep/made": "made\n"} {
		if b, err := os.ReadFile(filepath.Join(workspace, path)); string(b) != want {
			t.Errorf("%s: %q %v", path, b, err)
		}
	}
}

// Other programs of the capsule see the workspace as it is. What they do there
// must not reach a file that was laid for one program.
func TestInjectedFilesStayWhateverHappensOutside(t *testing.T) {
	h, workspace, outside := fileHouse(t)
	mkfifo(t, filepath.Join(h.dir, "gate"))
	existing := filepath.Join(workspace, "sub", "existing")
	os.WriteFile(existing, nil, 0o644)
	paths := []string{existing, filepath.Join(workspace, "sub", "deep", "new"), filepath.Join(outside, "new", "file")}
	var files []File
	for _, p := range paths {
		files = append(files, File{Path: p, Content: []byte("laid ")})
	}
	c := h.start(h.with(workspace, "echo up; read x <$OURS/gate; cat "+strings.Join(paths, " "), files...))
	h.started(c)
	h.waitOutput(c, "up")
	// What an unlink or a rename does to a mount in another namespace.
	os.Remove(existing)
	os.WriteFile(existing, []byte("evil"), 0o644)
	os.Rename(filepath.Join(workspace, "sub"), filepath.Join(workspace, "moved"))
	os.Rename(outside, outside+".moved")
	for _, p := range paths {
		os.MkdirAll(filepath.Dir(p), 0o755)
		os.WriteFile(p, []byte("evil"), 0o644)
	}
	release(t, filepath.Join(h.dir, "gate"))
	h.exited(c)
	if out, errs := h.drain(c); out != "laid laid laid " {
		t.Errorf("out %q, err %s", out, errs)
	}
}

func TestInjectedFilesSurviveARestart(t *testing.T) {
	h, workspace, outside := fileHouse(t)
	mkfifo(t, filepath.Join(h.dir, "gate"))
	path := filepath.Join(outside, "file")
	c := h.start(h.with(workspace, `read x <$OURS/gate; cat "$POLICY" `+path,
		File{EnvKey: "POLICY", Content: []byte("policy ")}, File{Path: path, Content: []byte("fixed")}))
	h.started(c)
	h.reopen()
	c, err := h.hands.Adopt(t.Context(), c.ID())
	if err != nil {
		t.Fatal(err)
	}
	release(t, filepath.Join(h.dir, "gate"))
	h.exited(c)
	if out, _ := h.drain(c); out != "policy fixed" {
		t.Errorf("after a restart: %q", out)
	}
}

// The most that the contract allows.
func TestInjectedFilesInGreatNumber(t *testing.T) {
	h, workspace, outside := fileHouse(t)
	var files []File
	var want strings.Builder
	for i := range 128 {
		content := make([]byte, 128<<10)
		rand.Read(content)
		f := File{Path: filepath.Join(outside, fmt.Sprint("d", i%7), fmt.Sprint("f", i)), Content: content}
		if i%2 == 0 {
			f = File{EnvKey: fmt.Sprint("FILE_", i), Content: content}
		}
		files = append(files, f)
		fmt.Fprintf(&want, "%x\n", sha256.Sum256(content))
	}
	script := `sum() { sha256sum "$1" | cut -d' ' -f1; }; `
	for _, f := range files {
		if f.EnvKey != "" {
			script += fmt.Sprintf(`sum "$%s"; `, f.EnvKey)
		} else {
			script += "sum " + f.Path + "; "
		}
	}
	_, c := h.run(h.with(workspace, script, files...))
	if out, errs := h.drain(c); out != want.String() {
		t.Errorf("%d bytes of digests, want %d; err %s", len(out), want.Len(), errs)
	}
}

func TestInjectedFilesAreRefusedWhereTheyCannotBe(t *testing.T) {
	h, workspace, outside := fileHouse(t)
	os.WriteFile(filepath.Join(outside, "file"), nil, 0o644)
	os.Symlink(outside, filepath.Join(workspace, "way-out"))
	os.Symlink("sub", filepath.Join(workspace, "way-in"))
	os.Symlink("/proc/self", filepath.Join(outside, "magic"))
	at := func(paths ...string) (files []File) {
		for _, p := range paths {
			files = append(files, File{Path: p})
		}
		return files
	}
	for _, c := range []struct {
		files []File
		why   string
	}{
		{at(workspace), "is a directory"},
		{at(outside), "is a directory"},
		{at("/proc/version"), "machine's own"},
		{at("/dev/null"), "machine's own"},
		{at("/sys/x"), "machine's own"},
		{at("/.astrid-files/x"), "machine's own"},
		{at("/etc/ld.so.preload"), "dynamic loader"},
		{at(filepath.Join(outside, "file", "x")), "no directory"},
		{at(filepath.Join(workspace, "way-out", "x")), "symbolic link"},
		{at(filepath.Join(workspace, "way-in", "x")), "symbolic link"},
		{at(filepath.Join(h.hands.processes(), "x")), "keeps its processes"},
		{at(filepath.Join(outside, "a"), filepath.Join(outside, "a", "b")), "below another file"},
		{at(filepath.Join(outside, "a", "b"), filepath.Join(outside, "a")), "below it"},
		{at(filepath.Join(outside, "a"), filepath.Join(outside, "a")), "another file"},
	} {
		s := h.with(workspace, "echo ran", c.files...)
		early := h.hands.CheckFiles(c.files, workspace)
		child, err := h.hands.Prepare(t.Context(), s)
		if err == nil {
			child.Abandon()
		}
		for _, err := range []error{early, err} {
			if !errors.Is(err, ErrFiles) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v: %v, want %q", c.files, err, c.why)
			}
		}
	}
	// A link that only root could change is followed.
	if to, err := os.Readlink("/bin"); err == nil && to == "usr/bin" {
		_, c := h.run(h.with(workspace, "cat /usr/bin/astrid-test", File{Path: "/bin/astrid-test", Content: []byte("laid")}))
		if out, errs := h.drain(c); out != "laid" {
			t.Errorf("through a trusted link: %q %s", out, errs)
		}
	}
}

func TestInjectedFilesNeedANamespace(t *testing.T) {
	h := newHouse(t, IsolationNone)
	s := h.sh("echo ran")
	s.Files = []File{{EnvKey: "POLICY"}}
	if _, err := h.hands.Prepare(t.Context(), s); !errors.Is(err, ErrFiles) || !strings.Contains(err.Error(), "namespace") {
		t.Errorf("without a namespace: %v", err)
	}
}

// An injected file is data, and the digest of what runs is of what runs.
func TestInjectedFilesAreNoPrograms(t *testing.T) {
	h, workspace, outside := fileHouse(t)
	program := filepath.Join(outside, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho the real one; . $LIB\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := h.with(workspace, "")
	s.Argv, s.Path = []string{program}, program
	s.Files = []File{{Path: program, Content: []byte("#!/bin/sh\necho another\n")}}
	c := h.start(s)
	if n := h.next(c); n.Failed == nil || n.Failed.Step != "resolve" {
		t.Errorf("an injected program: %s", show(n))
	}
	s.ID, s.Files = newID(), []File{{EnvKey: "LIB", Content: []byte("echo injected")}, {Path: filepath.Join(outside, "beside")}}
	c = h.start(s)
	if st := h.started(c); !sameFile(t, st.Executable, program) || st.Executable.Path != program {
		t.Errorf("executable %+v", st.Executable)
	}
	h.exited(c)
	if out, _ := h.drain(c); out != "the real one\ninjected\n" {
		t.Errorf("out %q", out)
	}
}

// Each lock holds alone: what the filter of system calls refuses, root has no
// capability for either, and what needs none is refused by the filter.
func TestInjectedFilesAreLockedTwice(t *testing.T) {
	h, workspace, _ := fileHouse(t)
	_, c := h.run(h.with(workspace, "grep -E '^(CapBnd|CapPrm|NoNewPrivs|Seccomp):' /proc/self/status", File{EnvKey: "POLICY"}))
	out, _ := h.drain(c)
	var bounding, permitted uint64
	var noNew, seccomp int
	if n, err := fmt.Sscanf(out, "CapPrm:\t%x\nCapBnd:\t%x\nNoNewPrivs:\t%d\nSeccomp:\t%d", &permitted, &bounding, &noNew, &seccomp); n != 4 {
		t.Fatalf("%q: %v", out, err)
	}
	const reach = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_SYS_RAWIO | 1<<unix.CAP_MKNOD |
		1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_SYS_MODULE | 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON
	if os.Geteuid() == 0 && bounding&reach != 0 || permitted&reach != 0 || noNew != 1 || seccomp != 2 {
		t.Errorf("the program has %s", out)
	}
}

func TestInjectedFilesForbidEveryCallThatMounts(t *testing.T) {
	h, workspace, _ := fileHouse(t)
	s := h.role("mounts")
	s.Workspace, s.Files = workspace, []File{{EnvKey: "POLICY"}}
	_, c := h.run(s)
	if out, errs := h.drain(c); out != "tried all\n" {
		t.Errorf("not refused: %s %s", out, errs)
	}
}

// The bytes reach the program whole.
func TestInjectedFilesArriveWhole(t *testing.T) {
	h, workspace, outside := fileHouse(t)
	content := make([]byte, 1<<20+1)
	rand.Read(content)
	s := h.with(workspace, "cat", File{Path: filepath.Join(outside, "f"), Content: content})
	s.Argv, s.Path = []string{"cat", filepath.Join(outside, "f")}, "cat"
	s.RingBytes = 2 << 20
	_, c := h.run(s)
	if out, _ := h.drain(c); !bytes.Equal([]byte(out), content) {
		t.Errorf("%d bytes came", len(out))
	}
}
