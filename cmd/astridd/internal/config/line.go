package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// lineOf returns the line that defines key, 0 if none does. toml tells no
// positions of keys, so the parser itself is asked: the key stands in the
// first line that, with all lines before it, makes a document that has it. It
// is quadratic, and runs only for a file that has faults.
func lineOf(text string, key toml.Key) int {
	lines := strings.SplitAfter(text, "\n")
	whole := 0 // lines of the last document that parsed: a value may span lines
	for n := 1; n <= len(lines); n++ {
		var any map[string]any
		md, err := toml.Decode(strings.Join(lines[:n], ""), &any)
		if err != nil {
			continue
		}
		if md.IsDefined(key...) {
			return whole + 1
		}
		whole = n
	}
	return 0
}

// suggest names what might have been meant by an unknown key.
func suggest(unknown toml.Key) string {
	known := keysAt(unknown[:len(unknown)-1])
	if len(known) == 0 {
		return "remove it"
	}
	last := unknown[len(unknown)-1]
	best, distance := "", len(last)/2+1
	for _, k := range known {
		if d := editDistance(last, k); d < distance {
			best, distance = k, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "known here: " + strings.Join(known, ", ")
}

// keysAt lists the keys that the file's type has in a table.
func keysAt(table toml.Key) []string {
	t := reflect.TypeFor[file]()
	for _, name := range table {
		switch t.Kind() {
		case reflect.Map:
			t = t.Elem()
		case reflect.Struct:
			f, ok := fieldOf(t, name)
			if !ok {
				return nil
			}
			t = f
		default:
			return nil
		}
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var keys []string
	for _, f := range reflect.VisibleFields(t) {
		if tag := f.Tag.Get("toml"); tag != "" {
			keys = append(keys, tag)
		}
	}
	slices.Sort(keys)
	return keys
}

func fieldOf(t reflect.Type, key string) (reflect.Type, bool) {
	for _, f := range reflect.VisibleFields(t) {
		if f.Tag.Get("toml") == key {
			return f.Type, true
		}
	}
	return nil, false
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// orList writes "a", "b" or "c".
func orList(words []string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i > 0 && i == len(words)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(`"` + w + `"`)
	}
	return b.String()
}
