//go:build !wasip1

package run

import (
	"errors"
	"testing"
)

func TestPerform(t *testing.T) {
	defer func() { work = nil }()
	if perform() == nil {
		t.Error("nothing was registered, and it ran")
	}
	ran := errors.New("ran")
	Main(func() error { return ran })
	if err := perform(); !errors.Is(err, ran) {
		t.Error(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("Main took two functions")
		}
	}()
	Main(func() error { return nil })
}
