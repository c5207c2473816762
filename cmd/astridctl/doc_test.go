package main

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/export"
	"github.com/astrid-os/processledger/internal/report"
)

// answers are the JSON answers: each verb's offered fields, and the type that
// makes them (nil where the type is not a struct of Go).
var jsonAnswers = map[string]struct {
	fields []string
	of     any
}{
	"log":            {export.EventFields, nil},
	"ps":             {handleFields, control.Handle{}},
	"show":           {storyFields, report.StoryView{}},
	"why":            {whyFields, whyView{}},
	"replay":         {stateFields, stateView{}},
	"status":         {statusFields, statusView{}},
	"verify":         {verifyFields, verifyView{}},
	"invoke":         {answerFields, control.Answer{}},
	"cancel":         {cancelFields, control.CancelAnswer{}},
	"stop":           {stopFields, control.StopAnswer{}},
	"daemon restart": {restartFields, restartView{}},
	"logs":           {chunkFields, control.LogChunk{}},
	"bus":            {messageFields, control.BusMessage{}},
}

// TestFieldListsFollowTheTypes holds that --json offers every field there is.
func TestFieldListsFollowTheTypes(t *testing.T) {
	for verb, a := range jsonAnswers {
		if a.of == nil {
			continue
		}
		have := jsonNames(reflect.TypeOf(a.of))
		for _, name := range have {
			if !slices.Contains(a.fields, name) {
				t.Errorf("%s: field %q is not offered", verb, name)
			}
		}
		for _, name := range a.fields {
			if !slices.Contains(have, name) {
				t.Errorf("%s: field %q is offered and does not exist", verb, name)
			}
		}
	}
}

// jsonNames lists the JSON names of a struct's fields.
func jsonNames(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			names = append(names, jsonNames(f.Type.Elem())...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// TestJSONIsDocumented holds docs/CLI-JSON.md against the code: every field of
// every answer stands in its verb's section, also the nested ones.
func TestJSONIsDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/CLI-JSON.md")
	if err != nil {
		t.Fatal(err)
	}
	for verb, a := range jsonAnswers {
		section := sectionOf(string(b), verb)
		if section == "" {
			t.Errorf("docs/CLI-JSON.md has no section %q", verb)
			continue
		}
		for _, name := range append(slices.Clone(a.fields), nestedNames(a.of)...) {
			if !strings.Contains(section, "`"+name+"`") {
				t.Errorf("docs/CLI-JSON.md, %s: field %q is not described", verb, name)
			}
		}
	}
}

// nestedNames lists the fields of the structs that are this package's or
// control's own below an answer, but handles and events, which have sections
// of their own.
func nestedNames(of any) (names []string) {
	if of == nil {
		return nil
	}
	t := reflect.TypeOf(of)
	for i := range t.NumField() {
		f := t.Field(i).Type
		for f.Kind() == reflect.Pointer || f.Kind() == reflect.Slice {
			f = f.Elem()
		}
		if f.Kind() != reflect.Struct || f == reflect.TypeFor[control.Handle]() || f.PkgPath() == "time" || strings.HasSuffix(f.PkgPath(), "ledger/event") {
			continue
		}
		if t.Field(i).Anonymous {
			names = append(names, nestedNames(reflect.New(f).Elem().Interface())...)
			continue
		}
		names = append(names, jsonNames(f)...)
	}
	return names
}

// sectionOf returns the text under the heading of a verb.
func sectionOf(doc, verb string) string {
	_, rest, found := strings.Cut(doc, "\n## "+verb+"\n")
	if !found {
		return ""
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	return section
}

// TestExitCodesAreDocumented holds that help and the documents list each code.
func TestExitCodesAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/CLI-JSON.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0 ok", "1 failed", "3 nothing matched", "4 daemon unreachable", "5 denied", "6 over quota", "130 interrupted"} {
		if !strings.Contains(exitCodesHelp, want) {
			t.Errorf("help does not list %q", want)
		}
		if !strings.Contains(string(b), want) {
			t.Errorf("docs/CLI-JSON.md does not list %q", want)
		}
	}
}
