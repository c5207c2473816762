package conformance

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lane is one host with the capsules of one guest, on which cases run one
// after another. Principals and topics of two cases are never the same.
type Lane struct {
	Host Host

	n int // cases that ran
}

// untilEvery and untilMost bound how a step asks again.
const (
	untilEvery = 20 * time.Millisecond
	untilMost  = 20 * time.Second
)

// callMost is how long an invocation may take; then it is cancelled.
const callMost = 40 * time.Second

// MapPrincipal is the name under which a principal of the case acts on a host.
func (c *Case) MapPrincipal(name string) string {
	if name == "anonymous" { // nobody, on any host
		return name
	}
	return name + "-" + strings.NewReplacer("/", "-", ".", "-").Replace(c.Name)
}

// job is an invocation in the background.
type job struct {
	st   *Step
	done chan struct{} // closed when what follows is set
	a    Answer
	err  error
}

// run is a case under way.
type run struct {
	c    *Case
	host Host
	vars map[string]string
	jobs map[string]*job
	seen map[string]bool // principals

	about string // lifecycle while a message of that topic is shown
}

// Run runs a case and returns what each of its steps answered. The error is
// for a host that could not be asked. Whatever the case left running is ended.
func (l *Lane) Run(ctx context.Context, c *Case) (got [][]string, err error) {
	l.n++
	r := &run{
		c: c, host: l.Host, jobs: map[string]*job{}, seen: map[string]bool{},
		vars: map[string]string{"case": fmt.Sprintf("case%d", l.n)},
	}
	defer r.clean(context.WithoutCancel(ctx))
	for i := range c.Steps {
		lines, err := r.step(ctx, &c.Steps[i])
		if err != nil {
			return got, fmt.Errorf("%s: %w", c.Steps[i].text[0], err)
		}
		got = append(got, lines)
	}
	return got, nil
}

func (r *run) clean(ctx context.Context) {
	for p := range r.seen {
		// What remains would only cost later cases their slots; a host that
		// cannot do it has failed the case already, or fails the next.
		_ = r.host.Retire(ctx, r.principal(p))
	}
	for _, j := range r.jobs {
		<-j.done
	}
}

func (r *run) principal(name string) string {
	r.seen[name] = true
	return r.c.MapPrincipal(name)
}

// unmap takes the case's own names out of an answer.
func (r *run) unmap(s string) string {
	for p := range r.seen {
		s = strings.ReplaceAll(s, r.c.MapPrincipal(p), p)
	}
	s = ids.ReplaceAllStringFunc(s, r.nameOf)
	return strings.ReplaceAll(s, r.vars["case"], "${case}")
}

// step makes a step, and says when it took too long or not long enough.
func (r *run) step(ctx context.Context, st *Step) ([]string, error) {
	began := time.Now()
	lines, err := r.act(ctx, st)
	if took := time.Since(began); st.Most > 0 && (took < st.Least || took > st.Most) {
		lines = append(lines, fmt.Sprintf("took %v", took.Round(time.Millisecond)))
	}
	return lines, err
}

func (r *run) act(ctx context.Context, st *Step) ([]string, error) {
	switch st.Verb {
	case "granted":
		return r.granted(ctx, st)
	case "runs":
		return r.runs(ctx, st)
	case "cancel":
		return nil, r.host.Cancel(ctx, r.principal(st.Principal), st.Capsule, st.CallID)
	case "retire":
		return nil, r.host.Retire(ctx, r.principal(st.Principal))
	case "restart":
		return nil, r.host.Restart(ctx)
	case "await":
		return r.await(st.Job)
	}
	if st.Job == "" {
		return r.invokeTimes(ctx, st)
	}
	j := &job{st: st, done: make(chan struct{})}
	r.jobs[st.Job] = j
	call := r.callOf(st)
	go func() {
		defer close(j.done)
		j.a, j.err = r.invoke(ctx, call)
	}()
	return nil, nil
}

func (r *run) await(name string) ([]string, error) {
	j := r.jobs[name]
	if j == nil {
		return nil, fmt.Errorf("no job is called %q", name)
	}
	delete(r.jobs, name)
	<-j.done
	if j.err != nil {
		return nil, j.err
	}
	return r.told(j.st, j.a), nil
}

func (r *run) invoke(ctx context.Context, c Call) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callMost)
	defer cancel()
	return r.host.Invoke(ctx, c)
}

func (r *run) callOf(st *Step) Call {
	var lines []string
	own := map[string]bool{}
	for _, l := range st.Lines {
		lines = append(lines, l.encode(r.vars, own))
		own[l.Var] = true
	}
	return Call{Principal: r.principal(st.Principal), Capsule: st.Capsule, CallID: st.CallID, Payload: strings.Join(lines, "\n")}
}

// runs waits until as many processes of a principal live.
func (r *run) runs(ctx context.Context, st *Step) ([]string, error) {
	for over := time.Now().Add(untilMost); ; time.Sleep(untilEvery) {
		n, err := r.host.Running(ctx, r.principal(st.Principal))
		if err != nil || n == st.Times {
			return nil, err
		}
		if time.Now().After(over) {
			return []string{strconv.Itoa(n)}, nil
		}
	}
}

// granted asks a host that can tell for what was granted.
func (r *run) granted(ctx context.Context, st *Step) ([]string, error) {
	g, ok := r.host.(Granter)
	if !ok {
		return st.Want, nil
	}
	text, err := g.Granted(ctx, r.principal(st.Principal))
	return []string{text}, err
}

// invokeTimes invokes as often as the step says.
func (r *run) invokeTimes(ctx context.Context, st *Step) (lines []string, err error) {
	var last []string
	for range st.Times {
		got, err := r.invokeUntil(ctx, st)
		if err != nil {
			return lines, err
		}
		if !slices.Equal(got, last) {
			lines = append(lines, got...)
		}
		last = got
	}
	return lines, nil
}

// invokeUntil invokes once, or until the answer is the one that is waited for.
func (r *run) invokeUntil(ctx context.Context, st *Step) ([]string, error) {
	for over := time.Now().Add(untilMost); ; time.Sleep(untilEvery) {
		a, err := r.invoke(ctx, r.callOf(st))
		if err != nil {
			return nil, err
		}
		got := r.told(st, a)
		if st.Until == "" || strings.Contains(strings.Join(got, "\n"), st.Until) || time.Now().After(over) {
			return got, nil
		}
	}
}

// told writes an answer for people.
func (r *run) told(st *Step, a Answer) (lines []string) {
	answers := strings.Split(strings.TrimSuffix(a.Data, "\n"), "\n")
	for i, l := range st.Lines {
		if i < len(answers) && a.Outcome == "ok" {
			lines = append(lines, r.show(l, answers[i])...)
		}
	}
	if a.Outcome != "ok" {
		lines = append(lines, a.Outcome)
	}
	return lines
}
