package daemon

import (
	"context"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/migrations"
)

// migrate brings the data directory to this build's layout, before anything
// else reads it. What a crash in it leaves, the next start goes on with.
func (d *Daemon) migrate() error {
	r, err := migrations.Run(context.Background(), d.cfg.Data, migrations.Options{Log: d.log})
	if err != nil {
		return err
	}
	for _, s := range r.Steps {
		if s.From > 0 { // step 1 makes a new directory: there was no ledger to migrate
			d.migrated = append(d.migrated, &event.LedgerMigrated{From: uint32(s.From), To: uint32(s.To), Backup: s.Backup})
		}
	}
	return nil
}
