package capsule

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// kindOf says what a file is that is neither a core module nor a component.
func kindOf(b []byte) string {
	trimmed := bytes.TrimLeft(b[:min(len(b), 256)], " \t\r\n")
	for _, k := range []struct {
		prefix, is string
	}{
		{"\x00asm", "WebAssembly of a version that this host does not know"},
		{"(module", "WebAssembly in text form; assemble it first"},
		{"(component", "a component in text form; assemble it first"},
		{"\x7fELF", "a native program (ELF); build it with GOOS=wasip1 GOARCH=wasm"},
		{"MZ", "a native program (PE)"},
		{"PK\x03\x04", "a zip archive; unpack it first"},
		{"\x1f\x8b", "gzip data; unpack it first"},
		{"#!", "a script"},
	} {
		if bytes.HasPrefix(b, []byte(k.prefix)) || bytes.HasPrefix(trimmed, []byte(k.prefix)) {
			return k.is
		}
	}
	if len(b) == 0 {
		return "empty"
	}
	return "not WebAssembly"
}

// maxTable is the most elements that a guest's table may have; each takes eight
// bytes of the host's own memory.
const maxTable = 1 << 20

// maxTables bounds how many tables a module may have.
const maxTables = 16

var errTables = errors.New("its table section cannot be read")

// capTables returns the module with a maximum for each of its tables. Without
// one, a guest's table.grow takes memory from the host until there is none.
// Everything else stays as it is.
func capTables(module []byte) ([]byte, error) {
	at := len(core)
	for at < len(module) {
		id := module[at]
		size, n := binary.Uvarint(module[at+1:])
		start := at + 1 + n
		if n <= 0 || size > uint64(len(module)-start) {
			return nil, errTables
		}
		end := start + int(size)
		if id != 4 {
			at = end
			continue
		}
		section, err := cappedTables(module[start:end])
		if err != nil {
			return nil, err
		}
		out := append(bytes.Clone(module[:at]), 4)
		out = append(binary.AppendUvarint(out, uint64(len(section))), section...)
		return append(out, module[end:]...), nil
	}
	return module, nil
}

// cappedTables rewrites the contents of a table section.
func cappedTables(b []byte) (out []byte, err error) {
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			err, n = errTables, len(b)
		}
		b = b[n:]
		return v
	}
	count := next()
	if count > maxTables {
		return nil, fmt.Errorf("has %d tables; at most %d are allowed", count, maxTables)
	}
	out = binary.AppendUvarint(nil, count)
	for ; count > 0 && err == nil; count-- {
		kind, flags, least, most := next(), next(), uint64(0), uint64(maxTable)
		if (kind != 0x70 && kind != 0x6f) || flags > 1 {
			return nil, errTables
		}
		if least = next(); flags == 1 {
			most = min(most, next())
		}
		if least > maxTable {
			return nil, fmt.Errorf("has a table of %d elements; at most %d are allowed", least, maxTable)
		}
		out = binary.AppendUvarint(append(out, byte(kind), 1), least)
		out = binary.AppendUvarint(out, most)
	}
	if err == nil && len(b) > 0 {
		err = errTables
	}
	return out, err
}
