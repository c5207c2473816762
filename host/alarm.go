package host

import "time"

// alarm is something to do at a CLOCK_BOOTTIME.
type alarm struct {
	at   int64
	over bool // set up after the end, of which those from before it are void
	do   func()
}

// after has the owner do something at a CLOCK_BOOTTIME. A time that has passed
// is now.
func (o *owner) after(at int64, do func()) {
	o.alarms = append(o.alarms, alarm{at, o.over(), do})
}

// lookAgain is how late an alarm may be after the machine has slept: Go's own
// timers stand still meanwhile, and CLOCK_BOOTTIME does not.
const lookAgain = time.Minute

// nextAlarm returns a timer for the earliest alarm, or for the next look at it;
// with none, one that never fires.
func (o *owner) nextAlarm() *time.Timer {
	pause, ok := o.untilAlarm()
	t := time.NewTimer(pause)
	if !ok {
		t.Stop()
	}
	return t
}

// untilAlarm is how long to wait; ok is false if there is no alarm.
func (o *owner) untilAlarm() (pause time.Duration, ok bool) {
	if len(o.alarms) == 0 {
		return lookAgain, false
	}
	first := o.alarms[0].at
	for _, a := range o.alarms {
		first = min(first, a.at)
	}
	return min(time.Duration(max(0, first-boottime())), lookAgain), true
}

// ringAlarms does what is due.
func (o *owner) ringAlarms() {
	now := boottime()
	due := o.alarms
	o.alarms = nil
	for _, a := range due {
		if a.at > now {
			o.alarms = append(o.alarms, a)
		}
	}
	for _, a := range due {
		if a.at <= now && a.over == o.over() && !o.finished {
			a.do()
		}
	}
}
