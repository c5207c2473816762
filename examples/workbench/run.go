package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/process"
)

// maxOutput is how many bytes of a command's output stand in an answer: the
// end, where the verdict is.
const maxOutput = 8 << 10

// step is one command that was run, as an answer tells of it.
type step struct {
	Command string `json:"command"`
	OK      bool   `json:"ok"`
	Exit    string `json:"exit"`             // "exit status 0", "signal 9", or why it did not run
	Output  string `json:"output,omitempty"` // what it wrote to stdout
	Errors  string `json:"errors,omitempty"` // what it wrote to stderr
	TookMS  int64  `json:"took_ms"`
}

// execute runs a program with the workspace's environment and tells of it. A
// program that could not be run is a step that failed; the error is for a
// cancelled call, after which nothing more is to be run.
func execute(dir string, stdin []byte, cmd string, args ...string) (step, error) {
	s := step{Command: strings.Join(append([]string{cmd}, args...), " ")}
	env, err := environment()
	if err != nil {
		return s, err
	}
	began := time.Now()
	res, err := process.Spawn(process.Request{Cmd: cmd, Args: args, Dir: dir, Stdin: stdin, Env: env})
	s.TookMS = time.Since(began).Milliseconds()
	if errors.Is(err, process.ErrCancelled) {
		return s, err
	}
	if err != nil {
		s.Exit = err.Error()
		return s, nil
	}
	s.OK, s.Exit = res.Exit.Success(), res.Exit.String()
	s.Output, s.Errors = end(res.Stdout), end(res.Stderr)
	return s, nil
}

// end returns the last maxOutput bytes of a text, from the beginning of a line.
func end(text string) string {
	if len(text) <= maxOutput {
		return text
	}
	text = text[len(text)-maxOutput:]
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	return "[…]\n" + strings.ToValidUTF8(text, "")
}

// run is the tool of that name.
func run(c guest.Call) (any, error) {
	var in struct {
		Cmd   string   `json:"cmd"`
		Args  []string `json:"args"`
		Stdin *string  `json:"stdin"`
		Dir   string   `json:"dir"`
	}
	if err := c.Decode(&in); err != nil {
		return nil, err
	}
	if in.Cmd == "" {
		return nil, errors.New("arguments: cmd is missing")
	}
	var stdin []byte
	if in.Stdin != nil {
		stdin = []byte(*in.Stdin)
	}
	s, err := execute(in.Dir, stdin, in.Cmd, in.Args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Command, err)
	}
	return s, nil
}
