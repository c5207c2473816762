package query

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// span is a length of time. Years, months and days are the calendar's, because
// a day may have 23 hours and a month any number of days.
type span struct {
	years, months, days int
	rest                time.Duration
}

// unit is what one unit's name stands for.
type unit struct {
	years, months, days int
	rest                time.Duration
}

// units by name; parseSpan also takes off a plural s. "m" is minutes, as in
// Go, Docker and systemd.
var units = map[string]unit{
	"ns": {rest: 1}, "us": {rest: time.Microsecond}, "µs": {rest: time.Microsecond},
	"ms": {rest: time.Millisecond}, "msec": {rest: time.Millisecond},
	"s": {rest: time.Second}, "sec": {rest: time.Second}, "second": {rest: time.Second},
	"m": {rest: time.Minute}, "min": {rest: time.Minute}, "minute": {rest: time.Minute},
	"h": {rest: time.Hour}, "hr": {rest: time.Hour}, "hour": {rest: time.Hour},
	"d": {days: 1}, "day": {days: 1},
	"w": {days: 7}, "week": {days: 7},
	"month": {months: 1},
	"y":     {years: 1}, "year": {years: 1},
}

// parseSpan reads "42m", "1h30m", "2 days", "1 week 3 days", "1.5h".
func parseSpan(s string) (span, bool) {
	var sp span
	s = strings.TrimSpace(s)
	if s == "" {
		return sp, false
	}
	for s != "" {
		number, rest := splitWhile(s, func(r rune) bool { return r >= '0' && r <= '9' || r == '.' })
		name, rest := splitWhile(strings.TrimLeft(rest, " "), func(r rune) bool { return r >= 'a' && r <= 'z' || r == 'µ' })
		u, ok := unitOf(name)
		if !ok || !sp.add(number, u) {
			return span{}, false
		}
		s = strings.TrimLeft(rest, " ")
	}
	return sp, true
}

func splitWhile(s string, keep func(rune) bool) (head, tail string) {
	i := strings.IndexFunc(s, func(r rune) bool { return !keep(r) })
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

func unitOf(name string) (unit, bool) {
	if u, ok := units[name]; ok {
		return u, true
	}
	u, ok := units[strings.TrimSuffix(name, "s")]
	return u, ok && len(name) > 2
}

// add adds number times u; a fraction is allowed only of units of fixed
// length.
func (sp *span) add(number string, u unit) bool {
	if n, err := strconv.Atoi(number); err == nil {
		if n > math.MaxInt32 || (u.rest > 0 && int64(n) > math.MaxInt64/int64(u.rest)) {
			return false
		}
		sp.years, sp.months, sp.days = sp.years+n*u.years, sp.months+n*u.months, sp.days+n*u.days
		sp.rest += time.Duration(n) * u.rest
		return sp.rest >= 0
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || u.rest == 0 || f*float64(u.rest) >= math.MaxInt64 {
		return false
	}
	sp.rest += time.Duration(f * float64(u.rest))
	return sp.rest >= 0
}
