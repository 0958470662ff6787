package retry

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"stoa/internal/ground/window"
)

// BudgetConfig bounds the repeats of a node to one destination. The zero value means the
// defaults.
type BudgetConfig struct {
	// Percent is how many repeats a hundred requests allow: 0 means 20; at most 100; negative
	// means none but the floor's.
	Percent int `json:"percent,omitempty"`

	// Floor is how many repeats a second are allowed in any case, so that a service with few
	// callers has some: 0 means 10; at most 1,000; negative means none. Unused, it is kept for
	// a window.
	Floor int `json:"floor,omitempty"`

	// Window is how long requests and repeats count: 0 means 10 s; 1 s to 1 min.
	Window time.Duration `json:"window,omitempty"`
}

// The defaults and bounds of BudgetConfig.
const (
	DefaultPercent = 20
	DefaultFloor   = 10
	DefaultWindow  = 10 * time.Second

	maxFloor             = 1000
	minWindow, maxWindow = time.Second, time.Minute
)

// Check tells bad what is wrong with c, by the path of the field.
func (c BudgetConfig) Check(bad func(path, text, hint string)) {
	if c.Percent > 100 {
		bad("percent", fmt.Sprintf("%d is more than 100", c.Percent), "Leave it out for 20: more doubles the load of a service that fails.")
	}
	if c.Floor > maxFloor {
		bad("floor", fmt.Sprintf("%d a second are more than %d", c.Floor, maxFloor), "Leave it out for 10.")
	}
	if c.Window != 0 && (c.Window < minWindow || c.Window > maxWindow) {
		bad("window", fmt.Sprintf("%v is not between %v and %v", c.Window, minWindow, maxWindow), "Leave it out for 10s.")
	}
}

// Budget is what a node may spend on repeats to one destination (as Finagle's): in any
// window at most a share of the requests of the window, and the floor. All methods may be
// called concurrently; none waits or allocates. Make it with NewBudget; it must not be
// copied.
//
// A repeat is counted before it is looked whether it was allowed, and taken back if not.
// So callers that ask at once may all be refused where one could have been allowed, but
// never too many are allowed.
type Budget struct {
	rules atomic.Pointer[budgetRules]

	granted, refused atomic.Uint64 // of repeats and hedges, ever

	_        [64]byte // requests are counted by every call, what is above and below by failures
	requests window.Count
	_        [64]byte
	repeats  window.Count
}

// budgetRules are a BudgetConfig with all in range.
type budgetRules struct {
	window  int64
	percent int64
	reserve int64 // the floor for a window, in hundredths of a repeat
}

// NewBudget gives a budget of which nothing is spent.
func NewBudget(c BudgetConfig) *Budget {
	b := &Budget{}
	b.Configure(c)
	return b
}

// Configure makes c the rules from now on. What was counted stays, unless the window is
// another.
func (b *Budget) Configure(c BudgetConfig) {
	w := max(minWindow, min(cmp.Or(c.Window, DefaultWindow), maxWindow))
	floor := int64(max(0, min(cmp.Or(c.Floor, DefaultFloor), maxFloor)))
	b.rules.Store(&budgetRules{
		window:  int64(w),
		percent: int64(max(0, min(cmp.Or(c.Percent, DefaultPercent), 100))),
		reserve: 100 * floor * w.Milliseconds() / 1000,
	})
}

// Deposit counts a request: once per call, when its first attempt is made.
func (b *Budget) Deposit(now int64) { b.requests.Add(window.Tick(now, b.rules.Load().window), 1) }

// Withdraw asks for one repeat.
func (b *Budget) Withdraw(now int64) bool { return b.withdraw(now, false) }

// withdraw asks for one repeat, spare for one that may only come from the half of the
// budget that is spent first.
func (b *Budget) withdraw(now int64, spare bool) bool {
	r := b.rules.Load()
	tick := window.Tick(now, r.window)
	b.repeats.Add(tick, 1)
	spent := 100 * b.repeats.Sum(tick)
	if spare {
		spent *= 2
	}
	if spent > r.allowed(b.requests.Sum(tick)) {
		b.repeats.Undo(tick, 1)
		b.refused.Add(1)
		return false
	}
	b.granted.Add(1)
	return true
}

// allowed gives hundredths of repeats.
func (r *budgetRules) allowed(requests int64) int64 { return r.percent*requests + r.reserve }

// BudgetState is a Budget as people and metrics see it.
type BudgetState struct {
	Requests, Repeats int64   // of the window
	Level             float64 // what is left, from 0 to 1
	Granted, Refused  uint64  // repeats and hedges that were asked for, ever
}

// State tells how b stands at now.
func (b *Budget) State(now int64) BudgetState {
	r := b.rules.Load()
	tick := window.Tick(now, r.window)
	s := BudgetState{Requests: b.requests.Sum(tick), Repeats: b.repeats.Sum(tick), Granted: b.granted.Load(), Refused: b.refused.Load()}
	if all := r.allowed(s.Requests); all > 0 {
		s.Level = max(0, 1-float64(100*s.Repeats)/float64(all))
	}
	return s
}
