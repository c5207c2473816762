//go:build !wasip1

package lifecycle

import (
	"errors"
	"testing"
)

func TestPerform(t *testing.T) {
	defer func() { install, upgrade = nil, nil }()
	if perform(install) != nil || perform(upgrade) != nil {
		t.Error("what has no function does nothing")
	}
	installed, upgraded := errors.New("installed"), errors.New("upgraded")
	OnInstall(func() error { return installed })
	OnUpgrade(func() error { return upgraded })
	if err := perform(install); !errors.Is(err, installed) {
		t.Error(err)
	}
	if err := perform(upgrade); !errors.Is(err, upgraded) {
		t.Error(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("OnInstall took two functions")
		}
	}()
	OnInstall(func() error { return nil })
}
