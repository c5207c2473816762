//go:build linux

package daemontest

// A teller is a program that writes into its witness file all that it does, in
// the words that internal/worldcheck reads, and says numbered nonces: each to
// that file first, and then to its output. A handler that runs between the two
// waits for the second; so the file tells exactly what the output holds, but
// for a program that was killed there.
const (
	telling = `exec 3>>"$WITNESS/$0"
k=0
say() {
	k=$((k+1)); busy=1
	echo "$0 $k" >&3; echo "$0 $k"
	busy=; [ -z "$bye" ] || leave $bye
}
leave() { echo "code $1" >&3; exit $1; }
told() {
	echo "told $1" >&3
	[ -z "$2" ] || if [ -n "$busy" ]; then bye=$2; else leave $2; fi
}
`
	// A heedless one hears the signals and goes on.
	heedful  = "trap 'told INT 8' INT; trap 'told TERM 9' TERM\n"
	heedless = "trap 'told INT' INT; trap 'told TERM' TERM\n"

	begin = "echo start >&3; echo tells >&3\n"
	over  = "echo end >&3; leave 0\n"

	// steady says a nonce now and then until its gate opens. Its third
	// argument, if it has one, is the pause, s.
	steady = `while [ ! -e "$WITNESS/$1" ]; do say; sleep "${2:-0.02}"; done` + "\n"

	// flood says some megabytes as fast as it can before that, in lines of
	// two kilobytes.
	flood = `p=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; p=$p$p$p$p$p; p=$p$p$p$p$p$p$p$p$p$p
while [ $k -lt 2000 ] && [ ! -e "$WITNESS/$1" ]; do
	k=$((k+1)); busy=1
	echo "$0 $k 2000" >&3; echo "$0 $k 2000$p"
	busy=; [ -z "$bye" ] || leave $bye
done
`
	// hearing says a nonce for each line of its input, and ends with it.
	hearing = `say; while read line; do say; done` + "\n"
)

// The tellers. The heedless ones end by KILL or by their gate only.
const (
	Steady         = telling + heedful + begin + steady + over
	SteadyHeedless = telling + heedless + begin + steady + over
	Flood          = telling + heedful + begin + flood + steady + over
	FloodHeedless  = telling + heedless + begin + flood + steady + over
	Hearing        = telling + heedful + begin + hearing + over
	Brief          = telling + heedful + begin + "say; say; say\n" + over
)
