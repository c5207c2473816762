package daemon

import (
	"strings"
	"testing"

	"github.com/astrid-os/processledger/ledger/event"
)

// TestMissingText: after a restart of the machine nobody is made to look for who
// deleted what the power cut took.
func TestMissingText(t *testing.T) {
	same := missingText(event.RecoveryFinished{Missing: 1, Lost: 1, LostNoDirectory: 1})
	other := missingText(event.RecoveryFinished{Missing: 2, Lost: 2, LostReboot: 2})
	if strings.Contains(same, "power") || !strings.Contains(other, "power") {
		t.Errorf("on the same boot: %s\nafter another: %s", same, other)
	}
	for _, s := range []string{same, other} {
		if !strings.Contains(s, "had lost the directory") {
			t.Errorf("%s", s)
		}
	}
}
