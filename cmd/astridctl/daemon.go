package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/ui"
)

// newDaemon holds the verbs that are about the daemon itself.
func newDaemon(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "daemon", Short: "Restart the daemon, or upgrade it", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDaemonRestart(a))
	return cmd
}

func newDaemonRestart(a *app) *cobra.Command {
	var binary string
	var j *jsonFlag
	cmd := &cobra.Command{
		Use: "restart", Short: "Go on with the daemon's program as it is now, or with another", Args: noArgs,
		Long: `Have another daemon take over, in the same process and with no moment at which
nobody listens: the program at the daemon's own path as it lies there now, or the
one that --binary names (for root and the daemon's user).

The new program is tried first: whether it starts, takes the configuration and
understands the data directory. If not, nothing happens. Then calls under way have
as long as shutdown_timeout to end. What ends with the daemon is ended and recorded
as daemon-restart; persistent processes run on and lose no output. Whatever else is
asked of the daemon meanwhile waits and is answered by the next one.

The verb returns once that one is ready. Exit code 1 if nothing was restarted, or
if the daemon goes on with its old program; 4 if no daemon goes on.`,
		Example: `  install -m 755 astridd astrid-shim /usr/local/bin/ && astridctl daemon restart
  astridctl daemon restart --binary /opt/astrid-2/astridd`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.restartDaemon(cmd.Context(), binary, j) },
	}
	cmd.Flags().StringVar(&binary, "binary", "", "go on with the program at `PATH`")
	j = addJSON(cmd, restartFields)
	return cmd
}

// restartFields are the fields of restartView's JSON.
var restartFields = []string{"from", "to", "binary", "pid", "took_ns", "adopted", "restart"}

// restartView is the JSON of daemon restart.
type restartView struct {
	From     string           `json:"from"`
	To       string           `json:"to"` // the version that runs now
	Binary   string           `json:"binary"`
	PID      int              `json:"pid"`
	TookNano int64            `json:"took_ns"` // from the request until the next daemon was ready
	Adopted  uint32           `json:"adopted"` // processes that run on
	Restart  *control.Restart `json:"restart"`
}

func (a *app) restartDaemon(ctx context.Context, binary string, j *jsonFlag) error {
	if err := j.check(); err != nil {
		return err
	}
	r := &control.RestartRequest{}
	if binary != "" {
		var err error
		if r.Binary, err = filepath.Abs(binary); err != nil {
			return err
		}
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	v, err := a.awaitRestart(ctx, c, r)
	if err != nil {
		return err
	}
	if err := a.showRestart(v, j); err != nil {
		return err
	}
	if v.Restart != nil && v.Restart.Problem != "" {
		return fmt.Errorf("the daemon goes on with its old program: %s", v.Restart.Problem)
	}
	return nil
}

func (a *app) awaitRestart(ctx context.Context, c *control.Client, r *control.RestartRequest) (*restartView, error) {
	began := time.Now()
	p := ui.StartProgress(a.stderr, "trying the program that is to go on")
	answer, err := c.Restart(ctx, r)
	p.Stop()
	if err != nil {
		return nil, err
	}
	p = ui.StartProgress(a.stderr, "waiting for version "+ui.Safe(answer.To))
	defer p.Stop()
	st, err := c.WaitRestarted(ctx, answer)
	if err != nil {
		return nil, ui.Hint(fmt.Errorf("the restart from version %s to %s has begun, and no daemon has come of it: %w", answer.From, answer.To, err), "see the daemon's log; a start takes in whatever runs")
	}
	v := &restartView{
		From: answer.From, To: st.Version, Binary: answer.Binary, PID: st.PID, TookNano: time.Since(began).Nanoseconds(), Restart: st.Restart,
	}
	if st.Recovery != nil {
		v.Adopted = st.Recovery.Adopted
	}
	return v, nil
}

func (a *app) showRestart(v *restartView, j *jsonFlag) error {
	if j.on() {
		return j.write(a.stdout, v)
	}
	_, err := fmt.Fprintf(a.stdout, "version %s has taken over from %s after %s, with %s running on\n",
		ui.Safe(v.To), ui.Safe(v.From), ui.Duration(time.Duration(v.TookNano)), ui.Count(v.Adopted, "process"))
	return err
}

// restartText says how a daemon took over from another one.
func (a *app) restartText(r *control.Restart) string {
	s := fmt.Sprintf("took over from version %s, asked for by uid %d at %s; calls had %s to end, and no daemon was in charge for %s",
		r.From, r.UID, ui.Time(r.Requested, a.zone()), ui.Duration(time.Duration(r.DrainNano)), ui.Duration(time.Duration(r.GapNano)))
	if r.Problem != "" {
		s += "; it was to be " + r.Binary
	}
	return ui.Safe(s)
}
