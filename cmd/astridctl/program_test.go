package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// program builds the WASI program once and returns its path.
var program = sync.OnceValues(func() (string, error) {
	bin, err := binaries()
	if err != nil {
		return "", err
	}
	out := filepath.Join(bin, "program.wasm")
	cmd := exec.Command("go", "build", "-o", out, "./testdata/program")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, text)
	}
	return out, nil
})

func cmdProgram(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: program FILE")
	}
	from, err := program()
	ts.Check(err)
	ts.Check(os.Link(from, ts.MkAbs(args[0])))
}

// trapping is a module whose _start is the instruction unreachable: sections of
// types, functions, memory, exports and code.
const trapping = "\x00asm\x01\x00\x00\x00" +
	"\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x00" + "\x0a\x05\x01\x03\x00\x00\x0b"

func cmdTrapper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: trapper FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(trapping), 0o644))
}
