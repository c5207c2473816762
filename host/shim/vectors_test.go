//go:build linux

package shim

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the vectors anew; commit that only if a running shim still understands its daemon")

// TestTheWireIsWhatItWas compares the bytes of every message with those of the
// builds before: a shim outlives the daemon that made it, and speaks with the
// next one.
func TestTheWireIsWhatItWas(t *testing.T) {
	var b strings.Builder
	for _, v := range []struct {
		name string
		wire []byte
	}{
		{"message", someMessage.Encode()}, {"spec", EncodeSpec(&someSpec)}, {"ready", EncodeReady(&someReady)},
		{"going", EncodeGoing(&Going{Boot: 1, Wall: 2})}, {"started", EncodeStarted(&someStarted)},
		{"failed", EncodeFailed(&someFailed)}, {"exit", EncodeExit(&someExit)}, {"record of an exit", frame(EncodeExit(&someExit))},
	} {
		fmt.Fprintf(&b, "%s %s\n", v.name, hex.EncodeToString(v.wire))
	}
	const file = "testdata/wire.txt"
	if *rewrite {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || b.String() != string(want) {
		t.Errorf("the wire is\n%sand was\n%s%v", b.String(), want, err)
	}
}
