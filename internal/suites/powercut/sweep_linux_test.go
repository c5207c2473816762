package powercut

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/daemontest"
)

// look is one state to look at: of a cut, a model, and one of the pickers.
type look struct {
	cut    int
	model  Model
	picker int
}

// sweep looks at many states of one recording.
type sweep struct {
	rec   *recording
	h     *History
	task  string   // what the worker does with a state
	below []string // what it needs of it
	most  int      // states to look at

	first bool // one wrong state is enough

	// wrong says what is wrong with the answer about a state; "": nothing.
	wrong func(s *State, a *answer) string

	mu     sync.Mutex // held for accesses to what follows
	seen   map[uint64]*answer
	wrongs []string
}

// seed is where the choice of states and the lots of pickers begin.
func seed(t *testing.T) uint64 {
	t.Helper()
	if s := os.Getenv("POWERCUT_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("POWERCUT_SEED: %v", err)
		}
		return n
	}
	return uint64(time.Now().UnixNano())
}

// looks chooses the states, in the order of their cuts: up to a half are cuts with
// all and with nothing of what is undecided, the others any.
func (w *sweep) looks(seed uint64) []look {
	var sure, more []look
	kinds := len(Pickers(0))
	for _, cut := range NewReplayer(w.h).Cuts() {
		for p := range kinds {
			for _, m := range []Model{Strict, Journal} {
				if p < 2 && m == Strict {
					sure = append(sure, look{cut, m, p})
				} else {
					more = append(more, look{cut, m, p})
				}
			}
		}
	}
	r := rand.New(rand.NewPCG(seed, 0))
	r.Shuffle(len(sure), func(i, j int) { sure[i], sure[j] = sure[j], sure[i] })
	r.Shuffle(len(more), func(i, j int) { more[i], more[j] = more[j], more[i] })
	most := w.most
	switch {
	case os.Getenv("POWERCUT_STATES") == "all":
		most = len(sure) + len(more)
	case daemontest.Race && w.first:
		most /= 10 // as it may need some hundred
	case daemontest.Race:
		most /= 40
	}
	sure = sure[:min(len(sure), max(most/2, most-len(more)))]
	all := append(sure, more[:min(len(more), most-len(sure))]...)
	slices.SortFunc(all, func(a, b look) int { return a.cut - b.cut })
	return all
}

// run looks at the states and returns what is wrong, one line a state.
func (w *sweep) run(t *testing.T) []string {
	t.Helper()
	began, seed := time.Now(), seed(t)
	all := w.looks(seed)
	w.seen = map[uint64]*answer{}
	looked := 0
	for round := range rounds {
		if round > 0 && (w.enough() || time.Since(began) > w.bound()) {
			break
		}
		var some []look
		for i := round; i < len(all); i += rounds {
			some = append(some, all[i])
		}
		looked += len(some)
		var both sync.WaitGroup
		for _, half := range [][]look{some[:len(some)/2], some[len(some)/2:]} {
			both.Go(func() {
				if err := w.half(t, half, seed); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
	}
	t.Logf("%s: %d power cuts of %d, %d different states, %v, POWERCUT_SEED=%d", w.task, looked, len(all), len(w.seen), time.Since(began).Round(time.Millisecond), seed)
	return w.wrongs
}

// rounds is in how many parts a sweep is done, each over the whole trace: on a
// machine that has no time for all of them the last ones are left out.
const rounds = 4

// bound is how long a sweep goes on to begin rounds.
func (w *sweep) bound() time.Duration {
	if w.first || os.Getenv("POWERCUT_STATES") == "all" {
		return 24 * time.Hour
	}
	return 20 * time.Second
}

// half looks at some of the states with a worker of its own.
func (w *sweep) half(t *testing.T, looks []look, seed uint64) error {
	base, err := os.MkdirTemp(scratch(), "powercut-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(base)
	store := filepath.Join(base, "store")
	if err := os.Mkdir(store, 0o700); err != nil {
		return err
	}
	work, err := w.rec.newWorker(filepath.Join(base, "hands"))
	if err != nil {
		return err
	}
	defer func() { work.close(t) }()
	r := NewReplayer(w.h)
	for _, l := range looks {
		if w.enough() {
			return nil
		}
		s := r.State(l.cut, l.model, Pickers(seed ^ uint64(l.cut))[l.picker])
		key := w.key(r, s)
		w.mu.Lock()
		a := w.seen[key]
		w.mu.Unlock()
		dir := filepath.Join(base, "state")
		if a == nil {
			if err := s.Lay(dir, store, w.below, ownFiles(s)); err != nil {
				return err
			}
			got, err := work.ask(request{Task: w.task, Dir: filepath.Join(dir, "data")})
			if err != nil { // it died of the state
				got.Err = err.Error()
				if work, err = w.rec.newWorker(filepath.Join(base, "hands")); err != nil {
					return err
				}
			}
			a = &got
		}
		w.note(t, s, key, a)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

func (w *sweep) enough() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first && len(w.wrongs) > 0
}

// key tells states apart by what the worker sees of them.
func (w *sweep) key(r *Replayer, s *State) (key uint64) {
	for _, b := range w.below {
		key = key*31 + r.Key(s, b)
	}
	return key
}

// note takes an answer in.
func (w *sweep) note(t *testing.T, s *State, key uint64, a *answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[key] = a
	why := w.wrong(s, a)
	if why == "" {
		return
	}
	if !w.first && len(w.wrongs) < mostKept {
		why += "; it is kept in " + w.keep(t, s)
	}
	w.wrongs = append(w.wrongs, fmt.Sprintf("%v: %s", s, why))
}

// mostKept is how many wrong states are kept for whoever looks into them.
const mostKept = 3

// ownFiles tells which files of a state may be written to by whoever looks at
// it: all but segments before the newest.
func ownFiles(s *State) func(path string) bool {
	newest := ""
	for path := range s.files {
		if strings.HasSuffix(path, ".seg") {
			newest = max(newest, path)
		}
	}
	return func(path string) bool { return !strings.HasSuffix(path, ".seg") || path == newest }
}

// scratch is where states are laid: in memory, where there is a place for that.
func scratch() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// keep lays a wrong state where it stays, with the trace that it is of, and
// returns the place.
func (w *sweep) keep(t *testing.T, s *State) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "powercut-failed-")
	if err == nil {
		err = s.Lay(dir, dir, []string{"data"}, func(string) bool { return true })
	}
	if err == nil {
		err = os.Link(w.rec.trace, filepath.Join(dir, "trace"))
	}
	if err != nil {
		t.Errorf("a wrong state is not kept: %v", err)
	}
	return dir
}

// must fails the test for what is wrong, and shows the first of it.
func must(t *testing.T, wrongs []string) {
	t.Helper()
	for i, why := range wrongs {
		if i == 20 {
			t.Errorf("and %d more", len(wrongs)-i)
			return
		}
		t.Error(why)
	}
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain fields
	}
	return b
}
