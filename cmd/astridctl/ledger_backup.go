package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/backup"
)

func newBackup(a *app) *cobra.Command {
	var j *jsonFlag
	cmd := &cobra.Command{
		Use: "backup DIR", Short: "Copy a ledger and its keys, and check the copy", Args: oneArg("directory"),
		Long: `Copy a ledger, its keys and its layout to DIR, which must be empty or not exist,
read everything back, and verify the copy as astridctl verify does.

With a daemon the newest segment comes through it, as of one moment, while it
goes on; it records ledger.backed-up. Without one the files are copied. Either
way the keys are read from the data directory, so run it as root or as the
daemon's user. Whoever has the copy has the keys: keep it as safe.

A copy without its keys would lose the ids of persistent processes (keys/process-ids)
and the meaning of the ledger's digests (keys/redaction).

Exit code 0 if the copy is sound, 10 to 12 as of verify if what was copied is not.`,
		Example: "  astridctl ledger backup /mnt/backup/astrid-$(date +%F)",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.backup(cmd.Context(), args[0], j) },
	}
	j = addJSON(cmd, backupFields)
	return cmd
}

// backupFields are the fields of backupView's JSON.
var backupFields = []string{"directory", "ledger", "first_seq", "last_seq", "segments", "bytes", "manifest_sha256", "sound", "recorded", "skipped"}

// backupView is the JSON of backup, described in docs/CLI-JSON.md.
type backupView struct {
	Directory string   `json:"directory"`
	Ledger    string   `json:"ledger"`
	First     uint64   `json:"first_seq"`
	Last      uint64   `json:"last_seq"`
	Segments  int      `json:"segments"`
	Bytes     int64    `json:"bytes"`
	Manifest  string   `json:"manifest_sha256"`
	Sound     bool     `json:"sound"`
	Recorded  bool     `json:"recorded"`
	Skipped   []string `json:"skipped"`
}

func (a *app) backup(ctx context.Context, to string, j *jsonFlag) error {
	if err := j.check(); err != nil {
		return err
	}
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	src, dir, err := a.place(ctx)
	if err != nil {
		return err
	}
	source := backup.Source{Ledger: dir}
	if a.ledgerDir == "" {
		source.Data = filepath.Dir(dir)
	}
	if src != nil {
		defer src.close()
		st, err := src.client.Status(ctx)
		if err != nil {
			return err
		}
		source = backup.Source{Data: st.Data, Ledger: filepath.Join(st.Data, "ledger"), Newest: func(w io.Writer) error {
			_, err := src.client.Newest(ctx, w)
			return err
		}}
	}
	m, sum, err := backup.Make(to, source)
	if err != nil {
		return err
	}
	return a.checkBackup(ctx, src, to, m, sum, j)
}

// checkBackup verifies the copy, has the daemon record it, and tells.
func (a *app) checkBackup(ctx context.Context, src *daemonSource, to string, m *backup.Manifest, sum [32]byte, j *jsonFlag) error {
	t := &verifyTarget{dir: filepath.Join(to, "ledger")}
	report, err := a.verifyInChild(ctx, t)
	if err != nil {
		return err
	}
	n, bytes := m.Segments()
	v := &backupView{
		Directory: to, Ledger: m.Ledger, First: m.First, Last: m.Last, Segments: n, Bytes: bytes, Manifest: hex.EncodeToString(sum[:]),
		Sound: report.Sound(), Skipped: append([]string{}, m.Skipped...),
	}
	if src != nil && v.Sound {
		err := src.client.BackedUp(ctx, &control.Backup{Directory: to, Through: m.Last, Segments: uint32(n), Bytes: uint64(bytes), ManifestSHA256: v.Manifest})
		if err != nil {
			return fmt.Errorf("the copy in %s is whole and sound, but it could not be recorded: %w", to, err)
		}
		v.Recorded = true
	}
	switch {
	case j.on():
		err = j.write(a.stdout, v)
	case v.Sound:
		fmt.Fprintf(a.stdout, "%s events %d to %d in %s, %s, and %s\n", a.palette().Paint(ui.Good, "copied and sound:"), v.First, v.Last,
			ui.Count(n, "segment"), ui.Bytes(uint64(bytes)), ui.Count(len(m.Files)-n, "other file"))
	default:
		err = a.showReport(report, t)
	}
	if err == nil && !v.Sound {
		err = silentError{report.ExitCode()}
	}
	return err
}

func newRestore(a *app) *cobra.Command {
	var replace bool
	var j *jsonFlag
	cmd := &cobra.Command{
		Use: "restore DIR", Short: "Put a copy of a ledger back", Args: oneArg("directory"),
		Long: `Put the copy in DIR, made by astridctl ledger backup, into the data directory. The
daemon must not run. Every file is compared with the copy's manifest first.

A ledger that is there is not touched without --replace; with it, it is set aside
as ledger.replaced-TIME, and so is a key that differs. Delete it when it is not
needed any more.

The next start of the daemon matches what still runs with the copy: processes
that were started after it was made are ended and recorded as orphans.`,
		Example: "  astridctl ledger restore /mnt/backup/astrid-2026-01-02 --replace",
		RunE:    func(_ *cobra.Command, args []string) error { return a.restore(args[0], replace, j) },
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "set the ledger that is there aside")
	j = addJSON(cmd, restoreFields)
	return cmd
}

// restoreFields are the fields of restoreView's JSON.
var restoreFields = []string{"data", "ledger", "first_seq", "last_seq", "made", "set_aside"}

// restoreView is the JSON of restore, described in docs/CLI-JSON.md.
type restoreView struct {
	Data     string   `json:"data"`
	Ledger   string   `json:"ledger"`
	First    uint64   `json:"first_seq"`
	Last     uint64   `json:"last_seq"`
	Made     string   `json:"made"`
	SetAside []string `json:"set_aside"`
}

func (a *app) restore(from string, replace bool, j *jsonFlag) (err error) {
	if err := j.check(); err != nil {
		return err
	}
	if a.ledgerDir != "" {
		return usagef("a copy is restored into a data directory; name it with --data")
	}
	place, err := a.offline()
	if err != nil {
		return err
	}
	defer place.done(&err)
	r, err := backup.Restore(from, place.data, replace)
	if err != nil {
		return err
	}
	if j.on() {
		return j.write(a.stdout, &restoreView{
			Data: place.data, Ledger: r.Manifest.Ledger, First: r.Manifest.First, Last: r.Manifest.Last,
			Made: r.Manifest.Made.Format("2006-01-02T15:04:05.000Z07:00"), SetAside: append([]string{}, r.Aside...),
		})
	}
	fmt.Fprintf(a.stdout, "restored: events %d to %d, as of %s\n", r.Manifest.First, r.Manifest.Last, ui.Time(r.Manifest.Made, a.zone()))
	for _, name := range r.Aside {
		fmt.Fprintf(a.stdout, "set aside: %s\n", filepath.Join(place.data, name))
	}
	return nil
}
