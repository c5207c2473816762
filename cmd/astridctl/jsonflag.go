package main

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/export"
)

// wholeJSON is the value of a --json without fields.
const wholeJSON = "*"

// jsonFlag is the flag --json of a verb: bare for the whole answer,
// --json=a,b for some top-level fields.
type jsonFlag struct {
	value string
	known []string
}

// addJSON adds the flag; fields are those of the verb's answer.
func addJSON(cmd *cobra.Command, fields []string) *jsonFlag {
	j := &jsonFlag{known: fields}
	cmd.Flags().StringVar(&j.value, "json", "", "answer in JSON; with names (`a,b`), only these fields of it")
	cmd.Flags().Lookup("json").NoOptDefVal = wholeJSON
	cmd.Long += "\n\nFields of --json: " + strings.Join(fields, ", ")
	return j
}

// on tells whether JSON was asked for.
func (j *jsonFlag) on() bool { return j.value != "" }

// fields are the fields asked for, none for all.
func (j *jsonFlag) fields() []string {
	if j.value == "" || j.value == wholeJSON {
		return nil
	}
	return strings.Split(j.value, ",")
}

// check tells of fields that the verb's answer does not have.
func (j *jsonFlag) check() error {
	if err := export.CheckFields(j.fields(), j.known); err != nil {
		return usagef("--json: %v", err)
	}
	return nil
}

// write writes one JSON value: an object, or of a list each element reduced to
// the fields.
func (j *jsonFlag) write(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if fields := j.fields(); fields != nil {
		if b, err = export.Pick(b, fields); err != nil {
			return err
		}
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// joinJSON lets people write "--json a,b" as gh does, which a flag with an
// optional value cannot: a next word that is a list of field names belongs to
// the flag. Ids, the arguments of our verbs, are never all lower case letters.
func joinJSON(args []string) []string {
	i := slices.Index(args, "--json")
	if i >= 0 && slices.Contains(args[:i], "run") {
		return args // it is the program's
	}
	if i < 0 || i+1 >= len(args) || !isFieldList(args[i+1]) {
		return args
	}
	joined := append(slices.Clone(args[:i]), "--json="+args[i+1])
	return append(joined, args[i+2:]...)
}

func isFieldList(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_,") == ""
}
