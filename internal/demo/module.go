package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// modulePath is what this program's sources are called.
const modulePath = "github.com/astrid-os/processledger"

// moduleRoot finds the sources: what the go command knows under the module's
// name where the demo was started, else where this program was built from.
func moduleRoot(ctx context.Context) (string, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return "", fmt.Errorf("the demo builds everything from source and needs Go: %w", err)
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", modulePath).Output()
	if dir := strings.TrimSpace(string(out)); err == nil && dir != "" {
		return dir, nil
	}
	if dir := builtFrom(); dir != "" {
		return dir, nil
	}
	return "", errors.New("the sources are not here; start the demo in a checkout of them: go run ./cmd/astridctl demo")
}

// builtFrom is the module's directory as this program's build recorded it, ""
// if it is not there (any more).
func builtFrom() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "" // built with -trimpath
	}
	dir := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return ""
	}
	return dir
}

// build compiles a package of the module. The output goes to out; more is the
// environment beside this process's own. The commit is not stamped: asking git
// fails in a checkout that belongs to another user.
func build(ctx context.Context, root, out string, more []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-buildvcs=false", "-o", out}, args...)...)
	cmd.Dir = root
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), more...)
	b, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, b)
	}
	return nil
}
