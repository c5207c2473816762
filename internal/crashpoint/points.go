package crashpoint

// Points lists every crash point of the program. A call of Here with a name
// that is not listed, a name listed twice, and a name without a call are test
// failures.
var Points = []Point{}
