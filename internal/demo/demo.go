package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/astrid-os/processledger/internal/ui"
)

// Options say how to run the demo.
type Options struct {
	// Self is the path of this astridctl, which the demo runs as a person
	// would.
	Self string

	// Out gets the demo, Err progress.
	Out, Err io.Writer

	Palette ui.Palette
}

// Run shows the demo. It blocks for about a minute, most of which is building,
// and removes everything that it made, also when ctx ends it early. An error
// means that something was not as it has to be.
func Run(ctx context.Context, o Options) error { return run(ctx, o, (*site).steps) }

func run(ctx context.Context, o Options, steps func(*site) []step) (err error) {
	if runtime.GOOS != "linux" {
		return ui.Hint(errors.New("the demo needs Linux, where astridd runs programs in namespaces"),
			"here astridctl reads, replays and verifies copies of a ledger: astridctl log --ledger DIR")
	}
	// Where nobody reads any more (astridctl demo | head) Go would end this
	// process by SIGPIPE, and nothing would be cleaned up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	say := &narrator{out: &stopping{o.Out, cancel}, err: o.Err, palette: o.Palette}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	s, err := newSite(say, root, o.Self)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := s.cleanup(); cerr != nil {
			err = errors.Join(err, fmt.Errorf("cleaning up: %w", cerr))
		}
	}()
	say.say("This is the Astrid process ledger: capsules run real programs, and every decision and outcome is in a ledger before it takes effect. All of the demo happens in %s, which is removed in the end.", s.dir)
	for _, step := range steps(s) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		say.begin(step.title, step.shows)
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.title, err)
		}
	}
	return s.conclude(ctx)
}

// stopping is the demo's output: when it cannot be written, the demo ends.
type stopping struct {
	w    io.Writer
	stop context.CancelCauseFunc
}

// Write implements io.Writer.
func (s *stopping) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if err != nil {
		s.stop(err)
	}
	return n, err
}

// step is one step of the demo.
type step struct {
	title string
	shows string // in a sentence
	run   func(ctx context.Context) error
}

// steps are all of them, in order.
func (s *site) steps() []step {
	return []step{
		{"Build", "Everything is built from source: the daemon, the small init that runs each program, and two capsules, which are WebAssembly modules written in Go.", s.stepBuild},
		{"Start the daemon", "A daemon starts on an empty directory and serves the capsules.", s.stepStart},
		{"A capsule runs real programs", "alice calls the capsule, and it sets up a small Go project in her workspace: git, go build and go test run for her, and a watcher stays in the background.", s.stepCheck},
		{"Granted and refused", "bob calls the same capsule. What its manifest names is granted; another command, and a background process beyond bob's quota, are refused, and the refusals are recorded with the rule and the numbers.", s.stepRefuse},
		{"Programs run for both", "Each of the two starts a program that takes a few seconds, and alice a server that is to stay. Each writes a line of its own into a file when it starts and when it ends: a witness that the ledger knows nothing of.", s.stepRun},
		{"Kill the daemon", "The daemon is killed with SIGKILL while they run; the programs go on, and end while nobody is there to see it.", s.stepKill},
		{"Start it again", "A new daemon rebuilds its handle table from the ledger, records what ended meanwhile with its true exit, takes the server in again, and ends the watcher, whose owner was an instance of the capsule and is gone.", s.stepRestart},
		{"The server ran on", "It has counted all the time, ten lines a second, also while no daemon was there.", s.stepServer},
		{"What became of them", "The whole story of one program that ended while no daemon was there.", s.stepStory},
		{"Look back", "History is replayed to the last moment before the crash: the table and the counters are those that were shown then.", s.stepReplay},
		{"Another daemon takes over", "An upgrade kills nobody: the program of the daemon is tried, runs in the place of the old one, and the server does not notice.", s.stepUpgrade},
		{"Go on", "The capsule answers again, in a new instance, and the slots of the dead are free.", s.stepGoOn},
		{"Verify", "Every record, link and state of the ledger is checked, by a process of its own.", s.stepVerify},
	}
}
