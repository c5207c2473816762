package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/verify"
)

func newVerify(a *app) *cobra.Command {
	var j *jsonFlag
	var quiet bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Find every fault in a ledger", Args: noArgs,
		Long: `Check a whole ledger and print every fault: that no event is missing, that each
is the bytes that were written, decodes, points back to the one before it of its
process, and is a legal step of the state; that each segment begins with the
state that the events before it give, and that sealed segments have the hash
that their successor recorded.

With a daemon its newest segment is copied first; nothing is changed. The work
is done in a process of its own, so that nothing a damaged file does can keep
the result away.

Exit code 0 if the ledger is sound; 10 damaged, 11 events are missing, 12 a hash
or state does not fit (the lowest of those found); 1 if it could not be verified.`,
		Example: "  astridctl verify\n  astridctl verify --ledger ./copy --json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.verify(cmd.Context(), quiet, j) },
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "only the exit code")
	j = addJSON(cmd, verifyFields)
	return cmd
}

// verifyFields are the fields of verifyView's JSON.
var verifyFields = []string{"sound", "exit", "ledger", "events", "segments", "first_seq", "last_seq", "count", "faults", "notes"}

// verifyView is the JSON of verify, described in docs/CLI-JSON.md.
type verifyView struct {
	Sound    bool           `json:"sound"`
	Exit     int            `json:"exit"`
	Ledger   string         `json:"ledger"`
	Events   uint64         `json:"events"`
	Segments int            `json:"segments"`
	First    uint64         `json:"first_seq"`
	Last     uint64         `json:"last_seq"`
	Count    int            `json:"count"`
	Faults   []verify.Fault `json:"faults"`
	Notes    []string       `json:"notes"`
}

func (a *app) verify(ctx context.Context, quiet bool, j *jsonFlag) error {
	if err := j.check(); err != nil {
		return err
	}
	t, err := a.verifyTarget(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	report, err := a.verifyInChild(ctx, t)
	if err != nil {
		return err
	}
	switch {
	case j.on():
		err = j.write(a.stdout, verifyJSON(report, t))
	case !quiet:
		err = a.showReport(report, t)
	}
	if err == nil && !report.Sound() {
		err = silentError{report.ExitCode()}
	}
	return err
}

// verifyTarget is what to verify: the ledger's directory, and where a daemon
// writes it a copy of the newest segment.
type verifyTarget struct {
	dir    string
	newest string // "" without a daemon
	tmp    string
}

func (t *verifyTarget) close() {
	if t.tmp != "" {
		_ = os.RemoveAll(t.tmp) // a copy in the temporary directory
	}
}

func (a *app) verifyTarget(ctx context.Context) (*verifyTarget, error) {
	src, dir, err := a.place(ctx)
	if err != nil {
		return nil, err
	}
	if src == nil {
		return &verifyTarget{dir: dir}, nil
	}
	defer src.close()
	st, err := src.client.Status(ctx)
	if err != nil {
		return nil, err
	}
	t := &verifyTarget{dir: filepath.Join(st.Data, "ledger")}
	if t.tmp, err = os.MkdirTemp("", "astridctl-verify-"); err != nil {
		return nil, err
	}
	t.newest = filepath.Join(t.tmp, "newest.seg")
	if err := copyNewest(ctx, src, t.newest); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func copyNewest(ctx context.Context, src *daemonSource, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = src.client.Newest(ctx, f)
	return errors.Join(err, f.Close())
}

// verifyInChild runs the verification in a child process and reads its
// findings as they come.
func (a *app) verifyInChild(ctx context.Context, t *verifyTarget) (*verify.Report, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, childVerb, "--", t.dir, t.newest)
	// An interrupted child removes its copies; one that does not listen is
	// killed a little later.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	var said head
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := ui.StartProgress(a.stderr, "verifying")
	report, err := verify.ReadReport(out, nil, func() error {
		return childError(cmd.Wait(), &said)
	})
	p.Stop()
	if cmd.ProcessState == nil {
		// What it wrote made no sense, and err says so. That it was killed, or
		// had ended by itself, adds nothing: the wait is there to reap it.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return report, err
}

// childError adds to how the child ended what it said last.
func childError(err error, said *head) error {
	if err == nil || len(said.b) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, said.first())
}

// head keeps the beginning of what a child says on standard error: the reason
// of a crash stands first, before the stacks.
type head struct{ b []byte }

func (h *head) Write(b []byte) (int, error) {
	if room := 4096 - len(h.b); room > 0 {
		h.b = append(h.b, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

// first is the first line.
func (h *head) first() string {
	for i, c := range h.b {
		if c == '\n' {
			return string(h.b[:i])
		}
	}
	return string(h.b)
}

func verifyJSON(r *verify.Report, t *verifyTarget) *verifyView {
	return &verifyView{
		Sound: r.Sound(), Exit: r.ExitCode(), Ledger: t.dir, Events: r.Events, Segments: r.Segments, First: r.FirstSeq, Last: r.LastSeq,
		Count: r.Count, Faults: append([]verify.Fault{}, r.Faults...), Notes: append([]string{}, r.Notes...),
	}
}

// showReport prints every fault, then the notes, then the sum.
func (a *app) showReport(r *verify.Report, t *verifyTarget) error {
	p := a.palette()
	for _, f := range r.Faults {
		fmt.Fprintln(a.stdout, p.Paint(ui.Bad, "fault: "+ui.Safe(f.String())))
	}
	if more := r.Count - len(r.Faults); more > 0 {
		fmt.Fprintln(a.stdout, p.Paint(ui.Bad, fmt.Sprintf("and %s more", ui.Count(more, "fault"))))
	}
	for _, n := range r.Notes {
		fmt.Fprintln(a.stdout, "note: "+ui.Safe(n))
	}
	what := fmt.Sprintf("%s in %s, %d to %d", ui.Count(r.Events, "event"), ui.Count(r.Segments, "segment"), r.FirstSeq, r.LastSeq)
	if r.Sound() {
		_, err := fmt.Fprintln(a.stdout, p.Paint(ui.Good, "sound: ")+what+": sequence, records, decoding, links, hashes and state agree")
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "%s%s: %s\n", p.Paint(ui.Bad, "not sound: "), ui.Count(r.Count, "fault"), what)
	return err
}
