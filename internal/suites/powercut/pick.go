package powercut

import (
	"fmt"
	"math/rand/v2"
)

// Pickers returns the pickers that make something else of each power cut: those
// that decide alike every time, and three that draw lots from the seed.
func Pickers(seed uint64) []Picker {
	all := []Picker{
		{"nothing undecided is there", no, never2},
		{"everything that had begun is there", yes, always2},
		{"names without contents", yes, never2},
		{"contents without names", no, always2},
		{"the newest write alone", no, newest},
		{"the newest name alone", newestName, never2},
	}
	for i := range 2 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		all = append(all,
			torn(fmt.Sprintf("the newest write torn, seed %d", seed), r),
			lots(fmt.Sprintf("each sector and name by lot, seed %d.%d", seed, i), r),
			whole(fmt.Sprintf("each write by lot, seed %d.%d", seed, i), r),
		)
	}
	return all
}

func no(int, int) bool                 { return false }
func yes(int, int) bool                { return true }
func never2(int, int, int, int) bool   { return false }
func always2(int, int, int, int) bool  { return true }
func newest(i, n, _, _ int) bool       { return i == n-1 }
func newestName(i, n int) bool         { return i == n-1 }
func lot(r *rand.Rand) func() bool     { return func() bool { return r.IntN(2) == 0 } }
func upTo(r *rand.Rand, n int) (k int) { return r.IntN(n + 1) }

// torn has all that had begun, but of each file's newest write a beginning.
func torn(name string, r *rand.Rand) Picker {
	var from int
	return Picker{name, yes, func(i, n, k, parts int) bool {
		if i < n-1 {
			return true
		}
		if k == 0 {
			from = upTo(r, parts)
		}
		return k < from
	}}
}

// lots draws for each name and each sector.
func lots(name string, r *rand.Rand) Picker {
	take := lot(r)
	return Picker{name, func(int, int) bool { return take() }, func(int, int, int, int) bool { return take() }}
}

// whole draws for each write, and has the first names up to one drawn.
func whole(name string, r *rand.Rand) Picker {
	var last int
	var taken bool
	return Picker{name, func(i, n int) bool {
		if i == 0 {
			last = upTo(r, n)
		}
		return i < last
	}, func(_, _, k, _ int) bool {
		if k == 0 {
			taken = r.IntN(2) == 0
		}
		return taken
	}}
}
