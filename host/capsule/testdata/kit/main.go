// Command kit is a guest for tests: each action tries one side of the SDK on
// the real host and says in its answer what it saw.
package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/process"
)

func main() {}

func init() {
	for name, f := range map[string]func() (any, error){
		"background": background, "cancel": cancel, "confined": confined, "exit": exit, "limits": limits,
		"panic": panics, "quota": quota, "sleep": sleeps, "stress": stress,
	} {
		guest.Handle(name, func([]byte) ([]byte, error) {
			v, err := f()
			if err != nil {
				return nil, err
			}
			return json.Marshal(v)
		})
	}
}

// background starts, looks at, stops, continues and kills a program.
func background() (any, error) {
	h, err := process.SpawnBackground(process.Request{Cmd: "sh", Args: []string{"-c", `trap 'echo "got usr1"' USR1; echo ready; while :; do sleep 1 & wait $!; done`}})
	if err != nil {
		return nil, err
	}
	defer h.Drop()
	pid, err := h.OSPid()
	if err != nil {
		return nil, err
	}
	if _, err := h.WaitFor(10 * time.Millisecond); !errors.Is(err, process.ErrWaitTimeout) {
		return nil, fmt.Errorf("wait: %w", err)
	}
	text, err := read(h, "ready")
	if err != nil {
		return nil, err
	}
	if err := h.Signal(process.Usr1); err != nil {
		return nil, err
	}
	more, err := read(h, "got usr1")
	if err != nil {
		return nil, err
	}
	k, err := h.Kill()
	if err != nil {
		return nil, err
	}
	if err := h.Signal(process.Term); !errors.Is(err, process.ErrClosed) {
		return nil, fmt.Errorf("signal after the end: %v", err)
	}
	exit, err := h.Wait()
	return map[string]any{"pid": pid, "text": text + more, "killed": k.Killed, "exit": k.Exit, "wait": exit}, err
}

// read drains the logs until they have said what is wanted.
func read(h *process.Handle, want string) (string, error) {
	all := ""
	for range 1000 {
		l, err := h.ReadLogs()
		if all += l.Stdout; err != nil || strings.Contains(all, want) {
			return all, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return all, errors.New("logs never said " + want)
}

// cancel waits for a program until it is told not to, and cleans up.
func cancel() (any, error) {
	h, err := process.SpawnBackground(process.Request{Cmd: "sleep", Args: []string{"600"}})
	if err != nil {
		return nil, err
	}
	_, err = h.Wait()
	k, killErr := h.Kill()
	h.Drop()
	return map[string]any{"wait": fmt.Sprint(err), "exit": k.Exit, "kill": fmt.Sprint(killErr)}, nil
}

// confined tries to see the machine.
func confined() (any, error) {
	_, readErr := os.ReadFile("/etc/passwd")
	_, listErr := os.ReadDir("/")
	first, second := make([]byte, 16), make([]byte, 16)
	rand.Read(first)
	rand.Read(second)
	return map[string]any{
		"read": fmt.Sprint(readErr), "list": fmt.Sprint(listErr), "args": len(os.Args), "env": len(os.Environ()),
		"random": string(first) != string(second), "unix": time.Now().Unix(),
	}, nil
}

func exit() (any, error) {
	os.Exit(3)
	return nil, nil
}

func panics() (any, error) { panic("the guest gives up") }

func sleeps() (any, error) {
	time.Sleep(time.Hour)
	return nil, nil
}

// limits asks for what cannot be had.
func limits() (any, error) {
	answer := func(r process.Request) string {
		_, err := process.Spawn(r)
		return fmt.Sprint(err)
	}
	return map[string]string{
		"denied":   answer(process.Request{Cmd: "curl"}),
		"escape":   answer(process.Request{Cmd: "sh", Dir: "../.."}),
		"reserved": answer(process.Request{Cmd: "sh", Env: []process.Var{{Key: "LD_PRELOAD", Value: "x"}}}),
		"large":    answer(process.Request{Cmd: "sh", Stdin: make([]byte, 4<<20+1)}),
		"missing":  answer(process.Request{Cmd: "no-such-program"}),
	}, nil
}

// quota starts programs until it may not.
func quota() (any, error) {
	var held []*process.Handle
	defer func() {
		for _, h := range held {
			h.Drop()
		}
	}()
	for {
		h, err := process.SpawnBackground(process.Request{Cmd: "sleep", Args: []string{"600"}})
		if errors.Is(err, process.ErrQuota) {
			return map[string]int{"granted": len(held)}, nil
		}
		if err != nil {
			return nil, err
		}
		held = append(held, h)
	}
}

// stress has goroutines call the host while others make garbage, and compares
// what comes back with what it must be.
func stress() (any, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	stop := make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				keep = make([]byte, 1<<(8+i%10))
				if i%64 == 0 {
					runtime.GC()
				}
				runtime.Gosched()
			}
		}
	}()
	for g := range 4 {
		wg.Go(func() {
			for i := range 5 {
				if err := echo(strings.Repeat(fmt.Sprintf("%d/%d ", g, i), 1<<(3*i))); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	return map[string]int{"goroutines": 4}, errors.Join(errs...)
}

var keep []byte

func echo(text string) error {
	r, err := process.Spawn(process.Request{Cmd: "sh", Args: []string{"-c", `cat; echo "$MARK" >&2`}, Stdin: []byte(text), Env: []process.Var{{Key: "MARK", Value: text[:4]}}})
	if err != nil {
		return err
	}
	runtime.GC()
	if r.Stdout != text || strings.TrimSpace(r.Stderr) != strings.TrimSpace(text[:4]) || !r.Exit.Success() {
		return fmt.Errorf("%d bytes came back as %d, stderr %q, %s", len(text), len(r.Stdout), r.Stderr, r.Exit)
	}
	return nil
}
