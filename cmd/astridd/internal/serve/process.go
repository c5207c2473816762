package serve

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/control"
)

// mostGrace is the longest grace that a stop may ask for, from the contract.
const mostGrace = 30 * time.Second

func checkStop(r *control.StopRequest) error {
	if err := checkHandle(r.ID); err != nil {
		return err
	}
	if g := r.GraceNano; g != nil && (*g < 0 || *g > mostGrace.Nanoseconds()) {
		return control.Errorf(control.CodeUsage, "a grace of %s is not between 0 s and %s", time.Duration(*g), mostGrace)
	}
	return nil
}

// maxPath is Linux's longest path.
const maxPath = 4095

func checkBackup(b *control.Backup) error {
	sum, err := hex.DecodeString(b.ManifestSHA256)
	switch {
	case err != nil || len(sum) != sha256.Size:
		return control.Errorf(control.CodeUsage, "%.80q is no SHA-256", b.ManifestSHA256)
	case b.Directory == "" || len(b.Directory) > maxPath:
		return control.Errorf(control.CodeUsage, "the directory of the copy has %d bytes; 1 to %d are allowed", len(b.Directory), maxPath)
	}
	return nil
}

func checkRestart(r *control.RestartRequest) error {
	if b := r.Binary; b != "" && !strings.HasPrefix(b, "/") || len(b) > maxPath || strings.Contains(b, "\x00") {
		return control.Errorf(control.CodeUsage, "binary %.80q is no absolute path", b)
	}
	return nil
}

// checkHandle takes whole ids only: what a beginning stands for may change
// between two requests.
func checkHandle(id string) error {
	if _, err := ulid.ParseStrict(id); err != nil {
		return control.Errorf(control.CodeUsage, "%.80q is no process's id: %v", id, err).
			WithHint("ids of processes are in /v1/ps")
	}
	return nil
}
