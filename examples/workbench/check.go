package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/process"
)

// defaultDir is the project's directory where no other is named.
const defaultDir = "project"

// report is the answer of check.
type report struct {
	Workspace string  `json:"workspace"` // absolute, on the host
	Dir       string  `json:"dir"`
	Created   bool    `json:"created"` // there was no project; a small one was written
	Git       gitInfo `json:"git"`
	Steps     []step  `json:"steps"`
	OK        bool    `json:"ok"` // every step succeeded
	Watcher   watcher `json:"watcher"`
}

// gitInfo is what git knows of the project.
type gitInfo struct {
	Present bool     `json:"present"`
	Note    string   `json:"note,omitempty"` // why nothing is known
	Version string   `json:"version,omitempty"`
	Branch  string   `json:"branch,omitempty"`
	Commits []string `json:"commits,omitempty"` // the newest five, one line each
	Changed []string `json:"changed,omitempty"` // files that differ from the newest commit
}

// check is the tool of that name.
func check(c guest.Call) (any, error) {
	in := struct {
		Dir   string   `json:"dir"`
		Steps []string `json:"steps"`
	}{Dir: defaultDir, Steps: []string{"build", "test"}}
	if err := c.Decode(&in); err != nil {
		return nil, err
	}
	for _, name := range in.Steps {
		if steps[name] == nil {
			return nil, fmt.Errorf("arguments: no step %q; there are build, test and vet", name)
		}
	}
	r := report{Dir: in.Dir}
	if err := r.fill(in.Steps); err != nil {
		if errors.Is(err, process.ErrCancelled) {
			err = fmt.Errorf("the check was cancelled after %d of its steps: %w", len(r.Steps), err)
		}
		return nil, err
	}
	return r, nil
}

// steps are go's arguments for each step of a check. With an empty build cache
// a test compiles half of the standard library first, and vet looks at all of
// it; a build takes a moment.
var steps = map[string][]string{
	"build": {"build", "./..."},
	"test":  {"test", "-count=1", "-vet=off", "./..."},
	"vet":   {"vet", "./..."},
}

func (r *report) fill(names []string) (err error) {
	if r.Workspace, err = workspace(); err != nil {
		return err
	}
	if r.Created, err = create(r.Dir); err != nil {
		return err
	}
	if r.Git, err = git(r.Dir); err != nil {
		return err
	}
	r.OK = true
	for _, name := range names {
		s, err := execute(r.Dir, nil, "go", steps[name]...)
		if err != nil {
			return err
		}
		r.Steps = append(r.Steps, s)
		r.OK = r.OK && s.OK
	}
	r.Watcher, err = startWatcher(r.Dir)
	return err
}

// git tells what git knows of the project. Where it knows nothing yet, the
// project is put under its care first.
func git(dir string) (info gitInfo, err error) {
	ask := func(args ...string) (lines []string) {
		if err != nil {
			return nil
		}
		var s step
		if s, err = execute(dir, nil, "git", args...); err != nil || !s.OK {
			info.Note = s.Command + ": " + s.Exit + " " + s.Errors
			return nil
		}
		return strings.Split(strings.TrimRight(s.Output, "\n"), "\n")
	}
	version := ask("--version")
	if version == nil {
		return info, err
	}
	info.Present, info.Version = true, version[0]
	if err == nil {
		err = initialise(dir)
	}
	if branch := ask("rev-parse", "--abbrev-ref", "HEAD"); branch != nil {
		info.Branch = branch[0]
	}
	info.Commits = ask("log", "--oneline", "-5")
	for _, line := range ask("status", "--porcelain", ".") {
		if line != "" {
			info.Changed = append(info.Changed, line)
		}
	}
	return info, err
}

// initialise makes the project a repository of its own with a first commit.
// Steps that fail are left to git's own questions afterwards.
func initialise(dir string) error {
	s, err := execute(dir, nil, "sh", "-c", "test -e .git")
	if err != nil || s.OK {
		return err
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"commit", "-q", "-m", "Begin the project"}} {
		if _, err := execute(dir, nil, "git", args...); err != nil {
			return err
		}
	}
	return nil
}
