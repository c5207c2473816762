package ledger

// machineClock reads the clocks of this machine.
type machineClock struct{ boot [16]byte }

// BootID implements Clock.
func (c machineClock) BootID() [16]byte { return c.boot }
