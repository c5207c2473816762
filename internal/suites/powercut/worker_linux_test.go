package powercut

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A state is opened in a child process: a damaged page of bbolt is a fatal
// fault. The child is this test binary with workerEnv set to the file that
// holds the truth.
const (
	workerEnv = "POWERCUT_WORKER"
	handsEnv  = "POWERCUT_HANDS" // a directory of the worker's own
	shimEnv   = "POWERCUT_SHIM"  // the shim of the recorded daemons
	modeEnv   = "POWERCUT_MODE"  // their isolation
)

// request is a line that a worker reads, and answer the line that it writes.
type request struct {
	Task string
	Dir  string // the data directory
}

type answer struct {
	Err string // it could not be done

	// Same is the last event up to which the ledger holds what it held in the
	// end, and Last the last that it holds when it has been opened.
	Same, Last uint64

	Seen []seen  // of a scan
	Ends []ended // of a recovery
}

// worker is such a child.
type worker struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	fatal *bytes.Buffer
}

func (rec *recording) newWorker(dir string) (*worker, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{cmd: exec.Command(exe, "-test.run=^$"), fatal: &bytes.Buffer{}}
	w.cmd.Env = append(os.Environ(), workerEnv+"="+rec.truthFile, handsEnv+"="+dir,
		shimEnv+"="+filepath.Join(rec.site.Bin, "astrid-shim"), modeEnv+"="+rec.mode)
	w.cmd.Stderr = w.fatal
	w.cmd.WaitDelay = time.Second // its launcher may hold the pipes a little longer
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.out = bufio.NewReader(out)
	return w, w.cmd.Start()
}

// patience is how long a worker may take over a state: it needs milliseconds.
const patience = 20 * time.Second

// ask has the worker look at a state. After an error it is gone.
func (w *worker) ask(r request) (a answer, err error) {
	hung := time.AfterFunc(patience, func() { _ = w.cmd.Process.Signal(syscall.SIGQUIT) }) // it shows where it is
	defer hung.Stop()
	_, err = w.in.Write(append(marshal(r), '\n'))
	var line []byte
	if err == nil {
		line, err = w.out.ReadBytes('\n')
	}
	if err != nil {
		_ = w.cmd.Wait()
		return a, fmt.Errorf("whoever opened it died or hung: %w\n%.4000s", err, w.fatal)
	}
	return a, json.Unmarshal(line, &a)
}

func (w *worker) close(t *testing.T) {
	t.Helper()
	w.in.Close()
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("worker: %v\n%s", err, w.fatal)
	}
}

// workerMain is the child.
func workerMain(truthFile string) int {
	text, err := os.ReadFile(truthFile)
	var raw [][]byte
	if err == nil {
		err = json.Unmarshal(text, &raw)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	x := &examiner{raw: raw, dir: os.Getenv(handsEnv)}
	defer x.close()
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return 0
		}
		var r request
		if err = json.Unmarshal(line, &r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		os.Stdout.Write(append(marshal(x.examine(r)), '\n'))
	}
}
