package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

const docFile = "../../docs/EVENTS.md"

const docHead = `# Events

Every kind of event that the ledger holds: when it is written, by whom, its fields, and an example in the JSON form.
*This file is made from the comments in ` + "`ledger/event`" + ` by ` + "`go test ./ledger/event -rewrite`" + `; edit those.*

## What every event has

| JSON | what it is |
|---|---|
| ` + "`seq`" + ` | the event's place: 1, 2, 3, … without a gap. The order of events, and the cursor of readers |
| ` + "`id`" + ` | a ULID, the event's public name |
| ` + "`kind`" + ` | what happened: one of the kinds below |
| ` + "`time`" + ` | the wall clock as read, RFC 3339 with nanoseconds, UTC. It may step in either direction |
| ` + "`order_time`" + ` | the time in the id, in milliseconds. It never decreases; ranges by time search it |
| ` + "`boottime_ns`" + ` | CLOCK_BOOTTIME, nanoseconds: comparable between events of the same ` + "`boot_id`" + ` |
| ` + "`boot_id`" + ` | the machine's boot id |
| ` + "`principal`" + ` | the user or agent on whose behalf it happened |
| ` + "`capsule`, `instance`" + ` | the capsule, and the id of its instance |
| ` + "`call_id`" + ` | groups everything that one invocation caused; it comes from the caller |
| ` + "`handle`" + ` | the ULID of the process handle concerned |
| ` + "`actor`" + ` | who caused it: ` + "`kind`" + ` (guest, operator, timer, host, shim), an operator's ` + "`uid`" + ` as the kernel reports it, and ` + "`role`" + ` |
| ` + "`prev`" + ` | the seq of the previous event of the same handle |
| ` + "`body`" + ` | the fields of the kind |

Numbers and flags of a body always appear; texts, bytes, lists, parts and times appear if they are set. Bytes are hex, ids are ULIDs,
names that end in ` + "`_wall`" + ` are times of the wall clock (RFC 3339, UTC), names that end in ` + "`_boot`" + ` are CLOCK_BOOTTIME in nanoseconds, and names
that end in ` + "`_nano`" + ` are durations in nanoseconds. Numbers are exact 64-bit integers. A keyed digest is an HMAC-SHA-256: equal
inputs of one ledger have equal digests, and nobody without the key can try guesses. The form is only ever added to.

On disk an event is the protobuf message ` + "`astrid.ledger.v1.Event`" + ` of [event.proto](../ledger/event/event.proto), under the same names.
What a newer version wrote is kept: unknown kinds are called ` + "`kind-77`" + ` and have a body of ` + "`raw`" + ` hex, unknown fields stand in
` + "`unknown_fields`" + `.
`

// TestDocs: docs/EVENTS.md is what the comments, the descriptions of the
// fields and the example vectors make.
func TestDocs(t *testing.T) {
	want := eventsDoc(t)
	if *rewrite {
		if err := os.WriteFile(docFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the comments say: run go test ./ledger/event -rewrite", docFile)
	}
}

func eventsDoc(t *testing.T) []byte {
	c := readComments(t)
	out := bytes.NewBufferString(docHead)
	examples := exampleEvents()
	fmt.Fprintf(out, "\n## Kinds\n\n")
	for _, k := range Kinds() {
		fmt.Fprintf(out, "- [`%s`](#%s)\n", k, strings.ReplaceAll(k.String(), ".", ""))
	}
	var parts []message
	for i, k := range Kinds() {
		body := newBody(k)
		fmt.Fprintf(out, "\n### %s\n\n%s\n", k, c.about(t, body, k.String()))
		parts = append(parts, c.table(t, out, body)...)
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, examples[i].AppendJSON(nil), "", "  "); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(out, "\n```json\n%s\n```\n", &pretty)
	}
	fmt.Fprintf(out, "\n## Parts\n")
	seen := map[string]bool{}
	for len(parts) > 0 {
		part := parts[0]
		parts = parts[1:]
		if name := typeName(part); !seen[name] {
			seen[name] = true
			fmt.Fprintf(out, "\n### %s\n\n%s\n", name, c.about(t, part, name))
			parts = append(parts, c.table(t, out, part)...)
		}
	}
	return out.Bytes()
}

func typeName(m message) string { return reflect.TypeOf(m).Elem().Name() }

// comments are the doc comments of the package's structs and their fields.
type comments struct {
	types  map[string]string
	fields map[string]map[string]string
	json   map[string]string // name in JSON of each Go field
}

func readComments(t *testing.T) *comments {
	c := &comments{types: map[string]string{}, fields: map[string]map[string]string{}, json: map[string]string{}}
	for _, file := range []string{"body.go", "body_spawn.go"} {
		c.readFile(t, file)
	}
	for _, k := range Kinds() {
		c.nameFields(newBody(k))
	}
	return c
}

func (c *comments) readFile(t *testing.T, name string) {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range g.Specs {
			if ts, ok := s.(*ast.TypeSpec); ok {
				c.read(ts, g.Doc)
			}
		}
	}
}

func (c *comments) read(ts *ast.TypeSpec, doc *ast.CommentGroup) {
	st, ok := ts.Type.(*ast.StructType)
	if !ok {
		return
	}
	c.types[ts.Name.Name] = doc.Text()
	c.fields[ts.Name.Name] = map[string]string{}
	for _, f := range st.Fields.List {
		text := f.Doc.Text()
		if text == "" {
			text = f.Comment.Text()
		}
		for _, n := range f.Names {
			c.fields[ts.Name.Name][n.Name] = strings.Join(strings.Fields(text), " ")
		}
	}
}

// nameFields notes what JSON calls the Go fields of a message and its parts.
func (c *comments) nameFields(m message) {
	d := describe(m)
	for i, goName := range goNames(m, d) {
		words := strings.Fields(d.fields[i]) // … type name = number
		c.json[goName] = words[len(words)-3]
	}
	for _, p := range d.parts {
		c.nameFields(p)
	}
}

// goNames returns the Go name of each field that d lists, found by address.
func goNames(m message, d *describer) []string {
	v := reflect.ValueOf(m).Elem()
	names := make([]string, len(d.values))
	for i, p := range d.values {
		for j := range v.NumField() {
			f := v.Field(j)
			inside := f.Kind() == reflect.Pointer && f.Pointer() == reflect.ValueOf(p).Pointer() ||
				f.Kind() == reflect.Slice && f.Len() > 0 && f.Pointer() == reflect.ValueOf(p).Pointer()
			if inside || f.Addr().Pointer() == reflect.ValueOf(p).Pointer() && f.Type() != reflect.TypeFor[rest]() {
				names[i] = v.Type().Field(j).Name
				break
			}
		}
	}
	return names
}

var (
	link  = regexp.MustCompile(`\[(\w+)\]`)
	camel = regexp.MustCompile(`\b(?:[A-Z]\w+\.)?([A-Z][a-z]+\w*)\b`)
)

// inJSON rewrites a comment's Go names to those of the JSON form.
func (c *comments) inJSON(text string) string {
	text = strings.ReplaceAll(text, "[MaxEncoded]", "60 KiB")
	text = link.ReplaceAllString(text, "$1")
	return camel.ReplaceAllStringFunc(text, func(s string) string {
		parts := strings.Split(s, ".")
		last := parts[len(parts)-1]
		name, ok := c.json[last]
		switch {
		case len(parts) == 2 && ok:
			return "`" + name + "` of " + parts[0]
		case ok && strings.IndexFunc(last[1:], func(r rune) bool { return r >= 'A' && r <= 'Z' }) >= 0:
			return "`" + name + "`"
		}
		return s
	})
}

// about is the doc of a type, under the name that readers of JSON know.
func (c *comments) about(t *testing.T, m message, name string) string {
	doc := c.types[typeName(m)]
	if doc == "" {
		t.Errorf("%s has no comment", typeName(m))
	}
	if _, is := m.(Body); is && !strings.Contains(doc, "\nActor: ") {
		t.Errorf("the comment of %s does not say who writes it: Actor: …", typeName(m))
	}
	first, others, _ := strings.Cut(strings.TrimSpace(doc), " ")
	if first == typeName(m) {
		first = "`" + name + "`"
	}
	return first + " " + c.inJSON(others)
}

// table writes a table of the fields of m and returns its parts.
func (c *comments) table(t *testing.T, out *bytes.Buffer, m message) []message {
	d := describe(m)
	if len(d.fields) == 0 {
		fmt.Fprintf(out, "\nIt has no fields.\n")
		return nil
	}
	fmt.Fprintf(out, "\n| field | type | what it is |\n|---|---|---|\n")
	names := goNames(m, d)
	for i, declared := range d.fields {
		words := strings.Fields(declared) // … type name = number
		name := words[len(words)-3]
		text := c.fields[typeName(m)][names[i]]
		if text == "" {
			t.Errorf("%s.%s has no comment", typeName(m), names[i])
		}
		for _, verb := range []string{" is ", " are "} {
			text = strings.TrimPrefix(text, names[i]+verb)
		}
		fmt.Fprintf(out, "| `%s` | %s | %s |\n", name, d.shown[i], strings.ReplaceAll(c.inJSON(text), "|", "\\|"))
	}
	return d.parts
}
