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
	Content struct {
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
	} `json:"content"`
	IsError bool `json:"is_error"`
}

// read takes it from what invoke --json printed.
func (c *checkAnswer) read(b []byte) error {
	i := strings.IndexByte(string(b), '{') // progress may stand before it
	if i < 0 {
		return fmt.Errorf("no answer in %q", b)
	}
	var answer struct {
		Data string `json:"data"`
	}
	if err := json.Unmarshal(b[i:], &answer); err != nil {
		return err
	}
	var failed struct {
		Content string `json:"content"`
		IsError bool   `json:"is_error"`
	}
	if json.Unmarshal([]byte(answer.Data), &failed) == nil && failed.IsError {
		return errors.New(failed.Content)
	}
	if err := json.Unmarshal([]byte(answer.Data), c); err != nil {
		return err
	}
	if !c.Content.OK || !c.Content.Watcher.Running {
		return fmt.Errorf("the check did not go well: %s", answer.Data)
	}
	return nil
}

// show tells the answer for people.
func (c *checkAnswer) show(say *narrator) {
	r := &c.Content
	var b strings.Builder
	if r.Git.Present {
		fmt.Fprintf(&b, "%s: %s\n", r.Git.Version, strings.Join(r.Git.Commits, "; "))
	} else {
		fmt.Fprintf(&b, "git is not installed here, and the capsule goes on without it\n")
	}
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%s: %s after %s %s\n", s.Command, s.Exit, ui.Duration(time.Duration(s.TookMS)*time.Millisecond), strings.Join(strings.Fields(s.Output), " "))
	}
	fmt.Fprintf(&b, "the watcher runs as pid %d in %s\n", r.Watcher.PID, r.Workspace)
	say.output([]byte(ui.SafeText(b.String())))
}
