package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/astrid-os/processledger/internal/ui"
)

// narrator tells what happens: each step has a title and a sentence on what it
// shows, then commands with their output.
type narrator struct {
	out, err io.Writer
	palette  ui.Palette
	step     int
}

// begin opens a step. text is what the step shows, in a sentence.
func (n *narrator) begin(title, text string) {
	n.step++
	fmt.Fprintf(n.out, "\n%s\n", n.palette.Paint(ui.Bold, fmt.Sprintf("%d. %s", n.step, title)))
	n.say("%s", text)
}

// say tells one thing, wrapped to lines of a terminal.
func (n *narrator) say(format string, args ...any) {
	for _, line := range wrap(fmt.Sprintf(format, args...), 78) {
		fmt.Fprintln(n.out, line)
	}
}

// then tells one thing between two commands.
func (n *narrator) then(format string, args ...any) {
	fmt.Fprintln(n.out)
	n.say(format, args...)
}

// wrap breaks text at spaces into lines of at most width runes.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// working shows progress while fn runs, if it takes longer than a second.
func (n *narrator) working(what string, fn func() error) error {
	p := ui.StartProgress(n.err, what)
	defer p.Stop()
	return fn()
}

// command is how a command is shown: as one would type it.
func (n *narrator) command(args ...string) {
	fmt.Fprintf(n.out, "\n  %s\n", n.palette.Paint(ui.Dim, "$ "+ui.Shell(args...)))
}

// output shows what a command printed, indented.
func (n *narrator) output(b []byte) {
	text := strings.TrimRight(string(b), "\n")
	if text == "" {
		return
	}
	for _, line := range strings.Split(text, "\n") {
		fmt.Fprintln(n.out, strings.TrimRight("    "+line, " "))
	}
}

// run shows a command of astridctl and its output. The command has to end
// with one of the exit codes want, 0 if there is none.
func (s *site) run(ctx context.Context, want []int, args ...string) ([]byte, error) {
	s.say.command(append([]string{"astridctl"}, args...)...)
	out, code, err := s.astridctl(ctx, args...)
	s.say.output(out)
	if err != nil {
		return out, err
	}
	if len(want) == 0 {
		want = []int{0}
	}
	for _, w := range want {
		if code == w {
			return out, nil
		}
	}
	return out, fmt.Errorf("astridctl %s ended with %d", strings.Join(args, " "), code)
}

// astridctl runs this very program with args against the demo's daemon and
// returns what it printed on both streams.
func (s *site) astridctl(ctx context.Context, args ...string) (out []byte, code int, err error) {
	var both bytes.Buffer
	cmd := exec.CommandContext(ctx, s.self, args...)
	cmd.Env = s.environment()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it cleans up
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdout, cmd.Stderr = &both, &both
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return both.Bytes(), exit.ExitCode(), nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return both.Bytes(), 0, err
}
