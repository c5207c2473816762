package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/astrid-os/processledger/cmd/astridd/internal/config"
	"github.com/astrid-os/processledger/ledger/segment"
	"github.com/astrid-os/processledger/migrations"
	"github.com/astrid-os/processledger/projector"
)

// Fitness is what `astridd --check` tells of a build: what it would work with,
// and the newest formats that it reads. It is a line of JSON; fields are only
// added.
type Fitness struct {
	Version  string `json:"version"`
	Handover int    `json:"handover"` // of what one daemon leaves to the next
	Layout   int    `json:"layout"`   // of the data directory
	Segment  int    `json:"segment"`  // of a segment file
	State    int    `json:"state"`    // of the state that a segment opens with
	Data     string `json:"data"`     // the data directory
	Socket   string `json:"socket"`   // the control socket
}

// Check tells what this build is fit for with that configuration, and fails
// where a start would: without the shim, or with a data directory of a newer
// layout. It changes nothing, and a daemon may be using the data directory.
func Check(ctx context.Context, cfg *config.Config, version string) (*Fitness, error) {
	_, err := migrations.Run(ctx, cfg.Data, migrations.Options{DryRun: true})
	if err = errors.Join(err, checkShim(cfg.Shim)); err != nil {
		return nil, err
	}
	return &Fitness{
		Version: version, Handover: handoverFormat, Layout: migrations.Current, Segment: segment.Layout, State: projector.StateFormat,
		Data: cfg.Data, Socket: cfg.Socket,
	}, nil
}

// misfit tells why a build cannot take over from this one, empty if it can.
func (f *Fitness) misfit(cfg *config.Config) string {
	for _, c := range []struct {
		what       string
		have, need int
	}{
		{"hands over by format", f.Handover, handoverFormat},
		{"reads the data directory up to layout", f.Layout, migrations.Current},
		{"reads segments up to layout", f.Segment, segment.Layout},
		{"reads states up to format", f.State, projector.StateFormat},
	} {
		if c.have < c.need {
			return fmt.Sprintf("it %s %d, and this daemon is at %d", c.what, c.have, c.need)
		}
	}
	if f.Data != cfg.Data {
		return fmt.Sprintf("its data directory is %s by the configuration as it is now, and this daemon's %s; to move it, stop and start", f.Data, cfg.Data)
	}
	return ""
}

// Bounds of trying a program.
const (
	tryBound = 20 * time.Second // a check takes milliseconds; a cold disk takes longer
	tryBytes = 64 << 10         // of what it may say
)

// try runs a program as it will be run, with --check, and judges what it says.
func try(ctx context.Context, path string, cfg *config.Config) (*Fitness, error) {
	ctx, cancel := context.WithTimeout(ctx, tryBound)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(slices.Clone(os.Args[1:]), "--check")...)
	cmd.Env = slices.DeleteFunc(os.Environ(), forManagers)
	cmd.WaitDelay = time.Second
	var out, said bounded
	cmd.Stdout, cmd.Stderr = &out, &said
	switch err := cmd.Run(); {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s --check did not end within %s", path, tryBound)
	case err != nil && said.Len() > 0:
		return nil, fmt.Errorf("%s --check: %w: %s", path, err, strings.TrimSpace(said.String()))
	case err != nil:
		return nil, fmt.Errorf("%s --check: %w", path, err)
	}
	f := new(Fitness)
	if err := json.Unmarshal(out.Bytes(), f); err != nil || f.Version == "" {
		return nil, fmt.Errorf("%s is no astridd, or one that knows no restart: its --check says %.200q", path, out.String())
	}
	if why := f.misfit(cfg); why != "" {
		return nil, fmt.Errorf("version %s, %s, cannot take over: %s", f.Version, path, why)
	}
	return f, nil
}

// forManagers tells of a variable that it is between the daemon and its service
// manager, and nobody else's.
func forManagers(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.Contains([]string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}, name)
}

// bounded is a buffer that takes tryBytes at most.
type bounded struct{ bytes.Buffer }

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > tryBytes {
		return 0, errors.New("too much output")
	}
	return b.Buffer.Write(p)
}

// identity is what a program's file was when it was tried.
type identity struct {
	info os.FileInfo
}

// identify looks at the program that a path leads to.
func identify(path string) (identity, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no program", filepath.Clean(path))
	}
	return identity{info}, err
}

// same tells whether the path still leads to that file, as it was.
func (i identity) same(path string) bool {
	now, err := os.Stat(path)
	return err == nil && os.SameFile(i.info, now) && now.Size() == i.info.Size() && now.ModTime().Equal(i.info.ModTime())
}
