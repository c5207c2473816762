package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/astrid-os/processledger/internal/ui"
)

// checkAnswer is what the capsule's tool check answers, as far as it is shown.
type checkAnswer struct {
	Workspace string `json:"workspace"`
	Git       struct {
		Present bool     `json:"present"`
		Note    string   `json:"note"`
		Version string   `json:"version"`
		Commits []string `json:"commits"`
	} `json:"git"`
	Steps []struct {
		Command string `json:"command"`
		OK      bool   `json:"ok"`
		Exit    string `json:"exit"`
		Output  string `json:"output"`
		Errors  string `json:"errors"`
		TookMS  int64  `json:"took_ms"`
	} `json:"steps"`
	OK      bool `json:"ok"`
	Watcher struct {
		Running bool   `json:"running"`
		PID     uint32 `json:"pid"`
	} `json:"watcher"`
}

// read takes it from what invoke --json printed.
func (c *checkAnswer) read(b []byte) error {
	i := strings.IndexByte(string(b), '{') // progress may stand before it
	if i < 0 {
		return fmt.Errorf("no answer in %q", b)
	}
	var answer struct {
		Results []struct {
			Result struct {
				Content string `json:"content"`
				IsError bool   `json:"is_error"`
			} `json:"result"`
		} `json:"results"`
	}
	if err := json.Unmarshal(b[i:], &answer); err != nil {
		return err
	}
	if len(answer.Results) != 1 {
		return fmt.Errorf("the tool has published %d results, not one: %s", len(answer.Results), b[i:])
	}
	result := answer.Results[0].Result
	if result.IsError {
		return errors.New(result.Content)
	}
	if err := json.Unmarshal([]byte(result.Content), c); err != nil {
		return err
	}
	if !c.OK || !c.Watcher.Running {
		return fmt.Errorf("the check did not go well: %s", result.Content)
	}
	return nil
}

// show tells the answer for people.
func (c *checkAnswer) show(say *narrator) {
	var b strings.Builder
	if c.Git.Present {
		fmt.Fprintf(&b, "%s: %s\n", c.Git.Version, strings.Join(c.Git.Commits, "; "))
	} else {
		fmt.Fprintf(&b, "git is not installed here, and the capsule goes on without it\n")
	}
	for _, s := range c.Steps {
		fmt.Fprintf(&b, "%s: %s after %s %s\n", s.Command, s.Exit, ui.Duration(time.Duration(s.TookMS)*time.Millisecond), strings.Join(strings.Fields(s.Output), " "))
	}
	fmt.Fprintf(&b, "the watcher runs as pid %d in %s\n", c.Watcher.PID, c.Workspace)
	say.output([]byte(ui.SafeText(b.String())))
}
