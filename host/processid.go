package host

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/projector"
)

// processIDBytes is the length of a process id: 256 bits in base32.
const processIDBytes = 52

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// processIDs makes the ids by which guests name persistent processes. An id is
// derived from the handle by a key that only the daemon has: so it can be given
// back after a restart, and who reads the disk or the ledger does not learn it.
type processIDs struct{ key []byte }

// of returns the id of a handle, which only its creator is told.
func (p processIDs) of(handle ulid.ULID) string {
	return base32Lower.EncodeToString(p.mac("process id", handle[:]))
}

// hash is what events and the state hold of an id. It is computed of anything a
// guest may say, so that an unknown id takes as long as a known one.
func (p processIDs) hash(id string) []byte {
	if len(id) != processIDBytes {
		id = "" // no id; and no work in proportion to it
	}
	return p.mac("process id hash", []byte(id))
}

func (p processIDs) mac(purpose string, b []byte) []byte {
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(purpose))
	mac.Write(b)
	return mac.Sum(nil)
}

// noSuchProcess is the one answer to an id that is unknown, released, malformed
// or another's: who asks cannot tell which.
func noSuchProcess() *Error { return errorf(NoSuchProcess, "no such process") }

// find is resolve for a call that uses the process. The error is NoSuchProcess.
func (h *Host) find(c Caller, id string) (*owner, error) {
	o := h.resolve(c, id)
	if o == nil {
		return nil, noSuchProcess()
	}
	o.kept.touch()
	return o, nil
}

// resolve returns the owner of the process that the caller's capsule started for
// the caller's principal under that id, nil if there is none.
func (h *Host) resolve(c Caller, id string) *owner {
	scope := c.scope()
	hash := h.ids.hash(id)
	var handle ulid.ULID
	h.live.View(func(s *projector.State) {
		p, ok := s.ByProcessID(hash)
		if ok && p.Principal == scope.Principal && p.Capsule == scope.Capsule {
			handle = p.ID
		}
	})
	if o := h.owner(handle); o != nil && o.kept != nil {
		return o
	}
	return nil
}
