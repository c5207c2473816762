# Long runs that are no part of .ci/run. `go test ./...` needs nothing of this.

.PHONY: torture uml bench

# torture kills daemons, shims and launchers at random over one data directory
# until KILLS are dead, and compares ledger, projections, directories, /proc and
# witness after each round. It prints its seed; SEED=N does the same things in
# the same order. A failure keeps the data directory and says where it is.
KILLS ?= 10000
SEED ?= 0
torture:
	go test -count=1 -timeout 12h -v ./internal/torture -kills $(KILLS) -seed $(SEED)

# uml runs daemon, shim and capsule on an old kernel (Debian's package
# user-mode-linux) and cuts that machine's power: no pidfs, no Landlock, and a real
# reboot. It takes half a minute and changes nothing of this machine.
uml:
	ASTRID_UML=1 go test -count=1 -timeout 30m -v ./internal/uml

# bench prints every figure that has a budget, each beside its baseline in the
# same run: see docs/BENCHMARKS.md. It wants a machine that does nothing else,
# 2 GB of disk for a while, and ten minutes.
bench:
	go test -run '^$$' -bench Append -benchtime 1x ./ledger
	go test -run '^$$' -bench 'Apply|ReplayLedger' -benchtime 3x ./projector
	go test -run '^$$' -bench 'Open|Freeze|Encode|Clone' -benchtime 20x ./projector
	go test -run '^$$' -bench . ./ledger/event
	go test -run '^$$' -bench Ready -benchtime 15x -timeout 30m ./internal/bench
	go test -run '^$$' -bench 'Spawn$$|Output|ShimMemory' ./host/act
	go test -run '^$$' -bench 'Spawn|Invoke' ./host ./host/capsule
	go test -run '^$$' -bench Cancel -benchtime 8x ./host/capsule
	go test -run '^$$' -bench BlockedWaits -benchtime 3x ./host/conformance
