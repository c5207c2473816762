# Long runs that are no part of .ci/run. `go test ./...` needs nothing of this.

.PHONY: torture

# torture kills daemons, shims and launchers at random over one data directory
# until KILLS are dead, and compares ledger, projections, directories, /proc and
# witness after each round. It prints its seed; SEED=N does the same things in
# the same order. A failure keeps the data directory and says where it is.
KILLS ?= 10000
SEED ?= 0
torture:
	go test -count=1 -timeout 12h -v ./internal/torture -kills $(KILLS) -seed $(SEED)
