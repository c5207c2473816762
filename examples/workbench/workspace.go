package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/astrid-os/processledger/guest/process"
)

// root is the workspace's absolute path on the host, once it is known. It does
// not change while the instance lives.
var root string

// workspace asks the host where the workspace is: a capsule sees no files, and
// some tools will not take a relative HOME.
func workspace() (string, error) {
	if root != "" {
		return root, nil
	}
	res, err := process.Spawn(process.Request{Cmd: "pwd"})
	if err != nil {
		return "", fmt.Errorf("pwd: %w", err)
	}
	if !res.Exit.Success() {
		return "", fmt.Errorf("pwd: %s: %s", res.Exit, res.Stderr)
	}
	root = strings.TrimSuffix(res.Stdout, "\n")
	return root, nil
}

// environment keeps git and go inside the workspace: their caches, their
// configuration and their commits' author. Go uses what is installed and
// fetches nothing.
func environment() ([]process.Var, error) {
	w, err := workspace()
	if err != nil {
		return nil, err
	}
	return []process.Var{
		{Key: "HOME", Value: w + "/.home"},
		{Key: "GOCACHE", Value: w + "/.home/go-build"},
		{Key: "GOPATH", Value: w + "/.home/go"},
		{Key: "GOENV", Value: "off"},
		{Key: "GOFLAGS", Value: "-mod=mod"},
		{Key: "GOPROXY", Value: "off"},
		{Key: "GOTOOLCHAIN", Value: "local"},
		{Key: "CGO_ENABLED", Value: "0"},
		{Key: "GIT_CONFIG_NOSYSTEM", Value: "1"},
		{Key: "GIT_AUTHOR_NAME", Value: "workbench"},
		{Key: "GIT_AUTHOR_EMAIL", Value: "workbench@localhost"},
		{Key: "GIT_COMMITTER_NAME", Value: "workbench"},
		{Key: "GIT_COMMITTER_EMAIL", Value: "workbench@localhost"},
	}, nil
}

// write writes a file in the workspace.
func write(path, text string) error {
	s, err := execute("", []byte(text), "tee", path)
	if err == nil && !s.OK {
		err = errors.New(s.Exit + ": " + s.Errors)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// The project that is written where there is none.
var sample = map[string]string{
	"go.mod": "module example.com/project\n\ngo 1.21\n",
	"sum.go": `// Package project adds numbers.
package project

// Sum returns the sum of the numbers, 0 for none.
func Sum(numbers ...int) (total int) {
	for _, n := range numbers {
		total += n
	}
	return total
}
`,
	"sum_test.go": `package project

import "testing"

func TestSum(t *testing.T) {
	if got := Sum(1, 2, 39); got != 42 {
		t.Errorf("Sum(1, 2, 39) = %d, want 42", got)
	}
}
`,
}

// sampleFiles fixes the order in which they are written.
var sampleFiles = []string{"go.mod", "sum.go", "sum_test.go"}

// create makes sure that dir is a Go project, and tells whether it wrote one.
func create(dir string) (bool, error) {
	// git and go want their HOME to be there.
	s, err := execute("", nil, "mkdir", "-p", ".home", dir)
	if err == nil && !s.OK {
		err = errors.New(s.Command + ": " + s.Exit + ": " + s.Errors)
	}
	if err != nil {
		return false, err
	}
	s, err = execute(dir, nil, "sh", "-c", "test -e go.mod")
	if err != nil || s.OK {
		return false, err
	}
	for _, name := range sampleFiles {
		if err := write(dir+"/"+name, sample[name]); err != nil {
			return false, err
		}
	}
	return true, nil
}
