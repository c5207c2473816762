//go:build linux

package shim

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the vectors of this version anew; commit that only before a build of it has run anywhere")

// vector is one example on the wire.
type vector struct {
	name string
	wire []byte
	read func([]byte) (any, error)
	want any // what reading it gives
}

func reads[T any](dec func([]byte) (*T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return dec(b) }
}

func vectors() []vector {
	going := func(b []byte) (any, error) { return decoded[Going](b) }
	return []vector{
		{"message", someMessage.Encode(), reads(DecodeMessage), &someMessage},
		{"spec", EncodeSpec(&someSpec), reads(DecodeSpec), &someSpec},
		{"ready", EncodeReady(&someReady), reads(DecodeReady), &someReady},
		{"going", EncodeGoing(&Going{Boot: 1, Wall: 2}), going, &Going{Boot: 1, Wall: 2}},
		{"started", EncodeStarted(&someStarted), reads(DecodeStarted), &someStarted},
		{"failed", EncodeFailed(&someFailed), reads(DecodeFailed), &someFailed},
		{"exit", EncodeExit(&someExit), reads(DecodeExit), &someExit},
		{"record of an exit", frame(EncodeExit(&someExit)), func(b []byte) (any, error) {
			body, err := unframe(b)
			if err != nil {
				return nil, err
			}
			return DecodeExit(body)
		}, &someExit},
	}
}

// TestTheWireIsWhatItWas compares the bytes of every message with those of the
// builds before of the same version: a shim outlives the daemon that made it, and
// speaks with the next one.
func TestTheWireIsWhatItWas(t *testing.T) {
	var b strings.Builder
	for _, v := range vectors() {
		fmt.Fprintf(&b, "%s %s\n", v.name, hex.EncodeToString(v.wire))
	}
	file := fmt.Sprintf("testdata/wire-%d.txt", ProtocolVersion)
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

// lacking is what a version did not have yet, taken from the examples.
var lacking = map[int]func(){
	1: func() { someMessage.Handle, someMessage.Version, someReady.Version = nil, 1, 1 },
}

// TestWhatEarlierVersionsWroteIsRead reads the vectors of every version below
// this one: what it did not have reads as nothing, and all else as it was.
func TestWhatEarlierVersionsWroteIsRead(t *testing.T) {
	message, ready := someMessage, someReady
	defer func() { someMessage, someReady = message, ready }()
	for version := ProtocolVersion - 1; version > 0; version-- {
		lacking[version]()
		file, err := os.ReadFile(fmt.Sprintf("testdata/wire-%d.txt", version))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(file)), "\n")
		for i, v := range vectors() {
			name, digits, _ := strings.Cut(lines[i], " "+lastField(lines[i]))
			wire, err := hex.DecodeString(lastField(lines[i]))
			if err != nil || name != v.name || digits != "" {
				t.Fatalf("line %d of version %d: %q, %v", i+1, version, lines[i], err)
			}
			if got, err := v.read(wire); err != nil || !reflect.DeepEqual(got, v.want) {
				t.Errorf("%s of version %d reads %+v, %v; want %+v", v.name, version, got, err, v.want)
			}
		}
	}
}

func lastField(line string) string { return line[strings.LastIndexByte(line, ' ')+1:] }
