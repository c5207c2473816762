package conformance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Case is one named story of calls and what they answer.
type Case struct {
	Name string // like "spawn/exit-code"; unique
	File string // where it stands

	// Covers are the items of the contract that the case was written for,
	// beside the functions and errors that its lines show; see coverage.go.
	Covers []string

	// Guests, if any, are the only guests that it is for.
	Guests []string

	// Profiles are what principals of the case are given beyond the defaults.
	Profiles []Profile

	Steps []Step

	head     []string // the lines before the first step, for rewriting
	accepted bool
}

// Step is one act of the driver, with the answer that is expected.
type Step struct {
	Verb string // invoke, await, cancel, retire, restart, runs or granted

	// Of invoke and others: on whose behalf. Capsule is "main" unless said.
	Principal, Capsule, CallID string

	// Job is the name under which an invocation runs in the background, or
	// the one to await.
	Job string

	// Until repeats the invocation until its answer contains this.
	Until string

	// Times is how often the invocation is made; answers that repeat the one
	// before are not shown. Of runs: how many processes are waited for.
	Times int

	// Least and Most bound how long the step may take; a Most of 0 is no
	// bound. A step that takes less or more says so in its answer.
	Least, Most time.Duration

	Lines []Line // the calls of the invocation

	Want []string // lines of the answer

	text []string // the lines of the step itself, for rewriting
}

// ReadCases reads the case files of a directory, in order of their names.
func ReadCases(dir string) ([]*Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	var all []*Case
	seen := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		cases, err := ParseCases(f, string(text))
		if err != nil {
			return nil, err
		}
		for _, c := range cases {
			if other := seen[c.Name]; other != "" {
				return nil, fmt.Errorf("%s: the case %s stands in %s too", f, c.Name, other)
			}
			seen[c.Name] = f
		}
		all = append(all, cases...)
	}
	return all, nil
}

// ParseCases reads the text of one file; doc.go describes the form.
func ParseCases(file, text string) ([]*Case, error) {
	p := &parser{file: file}
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
	}
	return p.cases, nil
}

type parser struct {
	file  string
	cases []*Case
	head  []string // comments and blank lines before the next case
}

func (p *parser) line(s string) error {
	if name, ok := strings.CutPrefix(s, "== "); ok {
		p.cases = append(p.cases, &Case{Name: name, File: p.file, head: append(p.head, s)})
		p.head = nil
		return nil
	}
	if s == "" || strings.HasPrefix(s, "#") {
		p.head = append(p.head, s)
		return nil
	}
	if len(p.cases) == 0 {
		return errors.New("stands before the first case")
	}
	c := p.cases[len(p.cases)-1]
	if len(p.head) > 0 {
		return errors.New("a blank line or a comment inside of a case")
	}
	if key, rest, ok := strings.Cut(s, ": "); ok && len(c.Steps) == 0 && !strings.ContainsAny(key, " >") {
		c.head = append(c.head, s)
		return c.header(key, strings.Fields(rest))
	}
	return c.step(s)
}

func (c *Case) header(key string, words []string) error {
	switch key {
	case "covers":
		c.Covers = append(c.Covers, words...)
	case "guests":
		c.Guests = append(c.Guests, words...)
	case "profile":
		p, err := parseProfile(words)
		if err != nil {
			return err
		}
		c.Profiles = append(c.Profiles, p)
	case "about":
	default:
		return fmt.Errorf("no header is called %q", key)
	}
	return nil
}

func (c *Case) step(s string) error {
	if rest, ok := strings.CutPrefix(s, "! "); ok {
		st, err := driverStep(strings.Fields(rest))
		st.text = []string{s}
		c.Steps = append(c.Steps, st)
		return err
	}
	if prompt, call, ok := strings.Cut(s, "> "); ok && !strings.HasPrefix(s, "  ") {
		st, err := invocation(strings.Fields(prompt))
		if err != nil {
			return err
		}
		c.Steps = append(c.Steps, st)
		return c.last().call(s, call)
	}
	if len(c.Steps) == 0 {
		return fmt.Errorf("neither a header nor a step: %q", s)
	}
	if call, ok := strings.CutPrefix(s, "  > "); ok {
		return c.last().call(s, call)
	}
	if want, ok := strings.CutPrefix(s, "  "); ok {
		c.last().Want = append(c.last().Want, want)
		return nil
	}
	return fmt.Errorf("neither a step nor an answer: %q", s)
}

func (c *Case) last() *Step { return &c.Steps[len(c.Steps)-1] }

func (st *Step) call(s, text string) error {
	l, err := parseLine(text)
	st.Lines, st.text = append(st.Lines, l), append(st.text, s)
	return err
}

// invocation reads what stands before the >.
func invocation(words []string) (Step, error) {
	st := Step{Verb: "invoke", Principal: words[0], Capsule: "main", Times: 1}
	if len(words)%2 == 0 {
		return st, fmt.Errorf("prompt %q: want PRINCIPAL and pairs of words", strings.Join(words, " "))
	}
	for pair := range slices.Chunk(words[1:], 2) {
		switch pair[0] {
		case "in":
			st.Capsule = pair[1]
		case "as":
			st.CallID = pair[1]
		case "job":
			st.Job = pair[1]
		case "until":
			st.Until = pair[1]
		default:
			if err := st.measure(pair[0], pair[1]); err != nil {
				return st, err
			}
		}
	}
	return st, nil
}

// measure reads the attributes that are numbers.
func (st *Step) measure(key, value string) (err error) {
	switch key {
	case "times":
		st.Times, err = strconv.Atoi(value)
	case "took":
		least, most, _ := strings.Cut(value, "..")
		if st.Least, err = time.ParseDuration(least); err == nil {
			st.Most, err = time.ParseDuration(most)
		}
	default:
		err = fmt.Errorf("prompt: no attribute is called %q", key)
	}
	return err
}

// driverStep reads what stands behind the !.
func driverStep(words []string) (Step, error) {
	st := Step{Capsule: "main"}
	bad := fmt.Errorf("no step is %q", strings.Join(words, " "))
	n := len(words)
	if n == 0 {
		return st, bad
	}
	st.Verb = words[0]
	switch {
	case words[0] == "restart" && n == 1:
	case words[0] == "granted" && n == 2:
		st.Principal = words[1]
	case words[0] == "await" && n == 2:
		st.Job = words[1]
	case words[0] == "await" && n == 4:
		st.Job = words[1]
		return st, st.measure(words[2], words[3])
	case words[0] == "retire" && n == 2:
		st.Principal = words[1]
	case words[0] == "runs" && n == 3:
		st.Principal = words[1]
		return st, st.measure("times", words[2])
	case words[0] == "cancel" && n == 4:
		st.Principal, st.Capsule, st.CallID = words[1], words[2], words[3]
	default:
		return st, bad
	}
	return st, nil
}
