package capsule

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// section is a section of a core module.
func section(id byte, body ...byte) []byte {
	return append(binary.AppendUvarint([]byte{id}, uint64(len(body))), body...)
}

// huge is the count of 4,294,967,295 things.
var huge = []byte{0xff, 0xff, 0xff, 0xff, 0x0f}

// TestCountBombs: a small file that claims to hold more than it can is refused.
// wazero would make room for all of it, which is the end of the process; so this
// test does not fail, it dies.
func TestCountBombs(t *testing.T) {
	s, err := newSet(t.Context(), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	kinds, one := []byte{1, 0x60, 0, 0}, []byte{1, 0}
	for name, body := range map[string][]byte{
		"types":           section(1, huge...),
		"params":          section(1, slices.Concat([]byte{1, 0x60}, huge)...),
		"imports":         section(2, huge...),
		"functions":       section(functionSection, huge...),
		"globals":         section(globalSection, huge...),
		"exports":         section(exportSection, huge...),
		"export's name":   section(exportSection, slices.Concat([]byte{1}, huge)...),
		"segments":        section(elementSection, huge...),
		"elements":        section(elementSection, slices.Concat([]byte{1, 1, 0}, huge)...),
		"expressions":     section(elementSection, slices.Concat([]byte{1, 5, 0x70}, huge)...),
		"active elements": section(elementSection, slices.Concat([]byte{1, 0, 0x41, 0, 0x0b}, huge)...),
		"bodies":          section(codeSection, huge...),
		"body":            section(codeSection, slices.Concat([]byte{1}, huge)...),
		"data":            section(dataSection, huge...),
		"bytes":           section(dataSection, slices.Concat([]byte{1, 1}, huge)...),
		"locals": slices.Concat(section(1, kinds...), section(functionSection, one...),
			section(codeSection, slices.Concat([]byte{1, 9, 1}, huge, []byte{0x7f, 0x0b, 0x0b})...)),
		"locals behind a long type":  section(codeSection, slices.Concat([]byte{1, 25, 2, 1, 0x63, 0x70}, huge, []byte{0x7f}, make([]byte, 15))...),
		"results behind a long type": section(1, slices.Concat([]byte{1, 0x60, 1, 0x63, 0x70}, huge, make([]byte, 200))...),
		"section":                    slices.Concat([]byte{dataSection}, huge),
	} {
		if _, _, err := s.compiled(t.Context(), slices.Concat(core, body)); err == nil || len(err.Error()) > 200 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNamesThatLie: a name section that cannot be read is left out, and one that
// can stays.
func TestNamesThatLie(t *testing.T) {
	text := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	for want, bodies := range map[bool][][]byte{
		true: {
			slices.Concat(text("name"), []byte{0, 2}, text("m"), []byte{1, 4, 1, 0}, text("f")),
			slices.Concat(text("name"), []byte{2, 6, 1, 0, 1, 0}, text("l"), []byte{7, 1, 9}),
			slices.Concat(text("other"), huge),
		},
		false: {
			slices.Concat(text("name"), []byte{1, 5}, huge),
			slices.Concat(text("name"), []byte{2, 5}, huge),
			slices.Concat(text("name"), []byte{2, 7, 1, 0}, huge),
			slices.Concat(text("name"), []byte{1, 0}),
			slices.Concat(text("name"), []byte{0, 1, 0xff}),
		},
	} {
		for _, body := range bodies {
			module := slices.Concat(core, section(customSection, body...), section(1, 0))
			out, err := checkCounts(module)
			if err != nil || bytes.Equal(out, module) != want || !bytes.HasSuffix(out, section(1, 0)) {
				t.Errorf("%q became %q, %v", body, out, err)
			}
		}
	}
}

// TestManyLocals: the locals of all functions are bounded together.
func TestManyLocals(t *testing.T) {
	body := []byte{6, 1, 0xd0, 0x86, 0x03, 0x7f, 0x0b} // 50,000 locals
	const n = maxAllLocals/maxLocals + 1
	code := slices.Concat(binary.AppendUvarint(nil, n), bytes.Repeat(body, n))
	_, err := checkCounts(slices.Concat(core, section(codeSection, code...)))
	if err == nil || !strings.Contains(err.Error(), "local variables in all") {
		t.Error(err)
	}
	code[0], code[1] = byte(n-1)&0x7f|0x80, byte((n-1)>>7)
	if _, err := checkCounts(slices.Concat(core, section(codeSection, code[:len(code)-len(body)]...))); err != nil {
		t.Error(err)
	}
}
