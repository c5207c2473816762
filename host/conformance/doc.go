// Package conformance shows that anybody's capsule runs on a host of the
// contract unchanged: astrid:process in all three revisions, astrid:io/poll,
// astrid:sys and astrid:ipc.
//
// The tests of the package play cases (testdata/cases) through interpreters:
// capsules that make the calls that a script names and answer with what they
// got. They are of different make (C against each revision, by hand; Go, with
// this project's SDK; JavaScript, with bindings that componentize-js
// generates), and what all of them get has to be the same text. -rewrite
// writes what the first guest got into the case files; -case REGEXP plays some.
//
// Where to look:
//
//   - case.go, line.go: the form of cases.
//   - run.go, show.go: the driver, and how an answer is written for people;
//     golden.go compares it with what the case wants.
//   - guest.go: what an interpreter can play.
//   - coverage.go: what there is to be covered; a test fails where it is not.
//   - host.go, remote.go, serve.go: a host, and the protocol to another.
//
// # Cases
//
//	== NAME
//	about: one sentence
//	covers: items of the checklist in coverage.go, beside the calls themselves
//	guests: the makes, names or revisions that alone can play it
//	profile: PRINCIPAL max_background_processes|max_timeout_secs NUMBER
//	alice> h = spawn-background cmd=sh arg=-c arg='echo out'
//	  ok handle
//	alice in other as call-a> h.wait h=$h ms=50
//	  > h.kill h=$h
//	  error wait-timeout
//	  ok killed=true exit=signal:9 stdout="" stderr=""
//
// A line with > has a principal make one call: in the capsule "main" unless
// "in" names another (manifest.go has them), with the call id of "as". Lines
// that begin with "  > " are made in the same invocation. "job NAME" leaves the
// invocation in the background; "until TEXT" repeats it until its answer has
// the text; "times N" makes it N times; "took LEAST..MOST" tells of a step that
// took less or more. What an invocation answers stands below it, a line a call;
// items of lists stand on lines of their own. Lines with ! are the driver's:
//
//	! await JOB               what a job answered
//	! cancel PRINCIPAL CAPSULE CALL-ID
//	! retire PRINCIPAL        ends all that it has
//	! runs PRINCIPAL N        waits until so many processes of it live
//	! restart                 as after SIGKILL of the host
//	! granted PRINCIPAL       what its newest process was granted, if the host tells
//
// A call is OP KEY=VALUE …: a method is the letter of its resource, a dot and
// its name (h, p and s). 'single' quotes take everything, "double" ones are
// Go's. KEY*N=TEXT is N times the text, KEY+N=TEXT has N times x behind it,
// KEY#N=VALUE repeats the argument, {A..B} repeats it for each number. $VAR is
// the handle, id or cursor that a line VAR = … got; ${case} is a word of the
// case's own, for topics.
//
// What differs from run to run is not shown: of handles, pids, times and
// cursors only that they are there, and ids as the variable that holds them. Of
// values above 2 KiB the length, a sum and the end are shown.
//
// # The script that a guest reads
//
// The payload of the hook action "run" is lines, one a call: VAR, OP and
// arguments KEY=VALUE, with tabs between; VAR may be empty. A byte that is not
// printable ASCII, a space or a % is written as % and two hex digits. KEY*N= and
// KEY+N= are as above, KEY$=VAR is a variable of the guest's own. The answer's
// data is a line for each: "ok" or "error" and the error's name, and KEY=VALUE,
// with tabs between; KEY#=LENGTH:SUM:END stands for a long value.
//
// # Another host
//
// go test ./host/conformance -conformance.host=COMMAND plays the cases on
// another host. The command is an adapter: it reads requests from its standard
// input, one JSON object a line, and writes one response a line for each, in
// any order, with the same id. It must answer several at once. An error
// response ({"id":1,"error":"…"}) fails the case.
//
//	{"id":1,"do":"start","setup":{"capsules":[{"name":"main","manifest":"…","module":"/path"}],
//	    "profiles":[{"principal":"…","max_background_processes":3}]}}
//	{"id":2,"do":"invoke","call":{"principal":"…","capsule":"main","call_id":"…","payload":"…"}}
//	    {"id":2,"answer":{"outcome":"ok","data":"…"}}    or "trap", or "given-up", with "detail"
//	{"id":3,"do":"cancel","principal":"…","capsule":"…","call_id":"…"}
//	{"id":4,"do":"retire","principal":"…"}     returns when its processes have ended
//	{"id":5,"do":"running","principal":"…"}    {"id":5,"running":2}
//	{"id":6,"do":"restart"}                    as after SIGKILL; returns when it serves again
//	{"id":7,"do":"close"}                      ends all; the input ends after it
//
// The host is started once for several cases; each case uses principals of its
// own. An adapter in Go can be [Serve] and a [Host].
package conformance
