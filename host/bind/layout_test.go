package bind

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/host/abi/abitest"
)

// namedTypes returns the types of a revision that its interface text names, each
// behind those that it is made of.
func namedTypes(rev revision) (all []*abi.Type) {
	seen := map[*abi.Type]bool{}
	var walk func(t *abi.Type)
	walk = func(t *abi.Type) {
		if t == nil || seen[t] {
			return
		}
		seen[t] = true
		for _, f := range t.Fields() {
			walk(f.Type)
		}
		cases, _ := t.Cases()
		for _, c := range cases {
			walk(c.Type)
		}
		walk(t.Elem())
		aggregate := t.Kind() == abi.KindRecord || t.Kind() == abi.KindVariant
		renamed := t.Kind() == abi.KindString && t.String() != "string"
		if (aggregate || renamed) && !strings.Contains(t.String(), "<") {
			all = append(all, t)
		}
	}
	for _, f := range rev.funcs {
		for _, p := range f.Named() {
			walk(p.Type)
		}
		walk(f.Result())
	}
	return all
}

// TestLayoutsGolden holds every layout and core signature that is served.
// TestLayoutsOfWasmTools, where it is run, holds them against what wasm-tools
// computes from the interface texts.
func TestLayoutsGolden(t *testing.T) {
	var b strings.Builder
	for _, rev := range revisions {
		b.WriteString("== " + rev.module + "\n\n")
		for _, ty := range namedTypes(rev) {
			b.WriteString(abitest.Layout(ty) + "\n")
		}
		for _, f := range rev.funcs {
			b.WriteString(abitest.Signature(f.Func) + "\n")
		}
		b.WriteString("\n")
	}
	abitest.Golden(t, "layouts.txt", b.String())
}

// layoutsOfTheContract are the numbers that are written down in the contract, in
// case somebody rewrites the golden file without a look: size/alignment, then
// offsets of fields.
const layoutsOfTheContract = `
env-var 16/4: key 0 value 8
resource-limits 48/8: max-memory-bytes 0 max-cpu-secs 16 max-pids 32 max-open-files 40
file-injection 20/4: content 0 placement 8
injection-placement 12/4:
exit-info 16/4: exit-code 0 signal 8
process-result 32/4: stdout 0 stderr 8 exit 16
read-logs-result 40/4: stdout 0 stderr 8 running 16 exit 20
kill-result 40/4: killed 0 exit 4 stdout 24 stderr 32
process-info 128/8: id 0 label 8 command 16 os-pid 24 phase 32 exit 36 age-ms 56 idle-ms 64 buffered-bytes 72 bytes-dropped 80 stdin-open 88 cpu-ms 96 mem-bytes-peak 112
log-cursor 12/4: token 0
log-chunk 40/8: data 0 next 8 bytes-dropped 24 drained-eof 32
error-code 12/4:
caller-context 28/4: principal 0 source-id 12 timestamp 20
ipc-message 36/4: topic 0 payload 8 source-id 16 principal 24
principal 12/4:
envelope 24/8: messages 0 dropped 8 lagged 16
interceptor-binding 24/8: handle-id 0 action 8 topic 16
log-level 1/1:
`

// The requests have one name and three layouts.
var requestsOfTheContract = map[string]string{
	process07: "spawn-request 48/4: cmd 0 args 8 stdin 16 env 28 cwd 36",
	process100: "spawn-request 176/8: cmd 0 args 8 stdin 16 env 28 cwd 36 limits 48 label 104 keep-stdin-open 116 overflow 118 " +
		"log-ring-bytes 120 max-lifetime-ms 128 idle-timeout-ms 144 exit-retention-ms 160",
	process110: "spawn-request 184/8: cmd 0 args 8 stdin 16 env 28 cwd 36 limits 48 file-injections 104 label 112 keep-stdin-open 124 " +
		"overflow 126 log-ring-bytes 128 max-lifetime-ms 136 idle-timeout-ms 152 exit-retention-ms 168",
}

func TestLayoutsOfTheContract(t *testing.T) {
	want := map[string]string{}
	for line := range strings.Lines(layoutsOfTheContract) {
		name, _, _ := strings.Cut(line, " ")
		want[name] = strings.TrimSpace(line)
	}
	seen := map[string]bool{}
	for _, rev := range revisions {
		for _, ty := range namedTypes(rev) {
			got := fmt.Sprintf("%s %d/%d:", ty, ty.Size(), ty.Align())
			for _, f := range ty.Fields() {
				got += fmt.Sprintf(" %s %d", f.Name, f.Offset)
			}
			w := want[ty.String()]
			if ty.String() == "spawn-request" {
				w = requestsOfTheContract[rev.module]
			}
			if seen[ty.String()] = true; w != "" && got != w {
				t.Errorf("%s: %s, want %s", rev.module, got, w)
			}
		}
	}
	for name := range want {
		if name != "\n" && !seen[name] {
			t.Errorf("%s is in no revision", name)
		}
	}
	for ty, n := range map[*abi.Type]int{request07: 12, request100: 36, request110: 38} {
		if len(ty.Flat()) != n {
			t.Errorf("%s flattens to %d values, want %d", ty, len(ty.Flat()), n)
		}
	}
}

// The core signatures of the contract, R being the return pointer, and behind
// them size/alignment and payload of the result that R points to.
const signaturesOfTheContract = `
astrid:io/poll@1.0.0
[method]pollable.ready i -> i
[method]pollable.block i R 16/4 4
poll i i R 16/4 4
[resource-drop]pollable i

the process methods
[method]process-handle.read-logs i R 44/4 4
[method]process-handle.write-stdin i i i R 16/4 4
[method]process-handle.close-stdin i R 16/4 4
[method]process-handle.signal i i R 16/4 4
[method]process-handle.kill i R 44/4 4
[method]process-handle.wait i i l R 20/4 4
[method]process-handle.wait-with-output i i l R 36/4 4
[method]process-handle.os-pid i R 16/4 4
[method]process-handle.subscribe-exit i -> i
[method]process-handle.subscribe-logs i -> i
[resource-drop]process-handle i

the persistent tier
spawn i R 36/4 4
spawn-background i R 16/4 4
spawn-persistent i R 16/4 4
attach i i R 16/4 4
list-processes i i i R 16/4 4
status i i R 136/8 8
status-many i i R 16/4 4
read-logs i i R 44/4 4
read-since i i i i i i i R 48/8 8
write-stdin i i i i R 16/4 4
close-stdin i i R 16/4 4
signal i i i R 16/4 4
wait i i l R 20/4 4
stop i i i l R 20/4 4
release-process i i R 16/4 4
watch i i i i i R 16/4 4
unwatch i i R 16/4 4

the 0.7 era
spawn i i i i i i i i i i i i R 36/4 4
spawn-background i i i i i i i i i i i i R 16/4 4

astrid:sys/host@1.0.0
get-config i i R 16/4 4
get-caller R 32/4 4
log i i i
signal-ready
clock-ms -> l
clock-monotonic-ns -> l
sleep-ns l R 16/4 4
random-bytes l R 16/4 4
check-capsule-capability i i i i R 16/4 4
enumerate-capabilities R 8/4 0

astrid:ipc/host@1.0.0
publish i i i i R 16/4 4
publish-as i i i i i i R 16/4 4
subscribe i i R 16/4 4
[method]subscription.poll i R 32/8 8
[method]subscription.recv i l R 32/8 8
[method]subscription.subscribe-readiness i -> i
[resource-drop]subscription i
get-interceptor-bindings R 16/4 4
`

// contractOf returns the signatures that a revision must have, sorted.
func contractOf(module string) (lines []string) {
	parts := map[string][]string{}
	for block := range strings.SplitSeq(strings.TrimSpace(signaturesOfTheContract), "\n\n") {
		all := strings.Split(block, "\n")
		parts[all[0]] = all[1:]
	}
	switch module {
	case process07:
		lines = slices.Concat(parts["the 0.7 era"], parts["the process methods"])
	case process100, process110:
		lines = slices.Concat(parts["the persistent tier"], parts["the process methods"])
	default:
		lines = parts[module]
	}
	return slices.Sorted(slices.Values(lines))
}

// TestSignaturesOfTheContract: every revision serves its functions, no fewer
// and no more, under these signatures.
func TestSignaturesOfTheContract(t *testing.T) {
	for _, rev := range revisions {
		var got []string
		for _, f := range rev.funcs {
			got = append(got, signatureOf(f))
		}
		slices.Sort(got)
		if want := contractOf(rev.module); !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant:\n%s", rev.module, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func signatureOf(f function) string {
	params, results := letters(f)
	s := strings.TrimSuffix(f.Name+" "+strings.Join(strings.Split(params, ""), " "), " ")
	if len(results) > 0 {
		return s + " -> " + results
	}
	if r := f.Result(); r != nil {
		_, payload := r.Cases()
		s = fmt.Sprintf("%sR %d/%d %d", strings.TrimSuffix(s, "i"), r.Size(), r.Align(), payload)
	}
	return s
}
