package mesh

import "stoa/api/core"

// Traffic is how calls to a service are spread and bounded, whoever makes them: what is
// true of the callee stands with the callee, and once. (What a caller wants of a call,
// a timeout or a fallback, stands in its uses, and what outsiders may, in expose.)
//
// All of it works undeclared. A field that is declared takes the place of the one of the
// System's defaults whole.
type Traffic struct {
	// Balance says which instance gets a call. Undeclared: of two at random the one that answers sooner and has less to do.
	Balance *Balance `json:"balance,omitempty" example:"{by: maglev, key: \"header:X-Tenant\"}"`
	// Outliers are instances that are left alone for a while, as their answers are worse than their peers'.
	Outliers *Outliers `json:"outliers,omitempty" example:"{consecutive: 3}"`
	// Breaker refuses calls at once while most of them fail, and lets one through now and then to see.
	// Callers that wait less than others (timeout, perTry) have one more, at which their timeouts count.
	Breaker *Breaker `json:"breaker,omitempty" example:"{percent: 30, open: 10s}"`
	// Concurrency bounds how many calls are at the service at one time, and who waits. Undeclared:
	// a bound that adapts to how long answers take.
	Concurrency *Concurrency `json:"concurrency,omitempty" example:"{max: 64}"`
	// RetryBudget bounds the repeats of all callers together, so that they do no harm to a service that fails.
	RetryBudget *RetryBudget `json:"retryBudget,omitempty" example:"{percent: 10}"`
}

// Balance says which instance gets a call.
type Balance struct {
	// By is ewma (of two at random the sooner and less busy), least (the less busy), round-robin, or, by
	// key, ring or maglev: the same key meets the same instance.
	By string `json:"by,omitempty" enum:"ewma,least,round-robin,ring,maglev" example:"least" default:"ewma"`
	// Key is what ring and maglev go by: header:NAME, cookie:NAME, client (the address) or path.
	Key string `json:"key,omitempty" example:"\"header:X-Tenant\""`
	// SlowStart is how long a new instance takes to get its full share, at most 1h. 0s: at once, as by ring and maglev if
	// undeclared, whose keys stay where they are.
	SlowStart *core.Duration `json:"slowStart,omitempty" example:"30s" default:"10s"`
	// Panic is the percentage of instances below which it is ignored that the others are left alone
	// (outliers): better a bad one than none. -1: never.
	Panic int `json:"panic,omitempty" example:"30" default:"50"`
}

// Outliers says when an instance is left alone.
type Outliers struct {
	// Off leaves none alone.
	Off bool `json:"off,omitempty" example:"true"`
	// Consecutive is how many answers in a row must be failures (5xx); -1: never.
	Consecutive int `json:"consecutive,omitempty" example:"3" default:"5"`
	// Gateway is the same for 502, 503 and 504 alone. Undeclared: no such rule.
	Gateway int `json:"gateway,omitempty" example:"3" zero:"no"`
	// Local is how many calls in a row must get no answer at all; -1: never.
	Local int `json:"local,omitempty" example:"3" default:"5"`
	// Sweep is the time between two looks at the rates of success, 1s to 1h.
	Sweep core.Duration `json:"sweep,omitempty" example:"5s" default:"10s"`
	// Base is how long the first time lasts; each further one is longer.
	Base core.Duration `json:"base,omitempty" example:"10s" default:"30s"`
	// Cap is the longest, base to 24h.
	Cap core.Duration `json:"cap,omitempty" example:"2m" default:"5m"`
	// MaxShare is the percentage of instances that may be left alone at a time. Undeclared: a third, at least one, never the last.
	MaxShare int `json:"maxShare,omitempty" example:"50" zero:"no"`
	// MinHosts is how many instances there must be for their rates to be compared; -1: they are not.
	MinHosts int `json:"minHosts,omitempty" example:"3" default:"5"`
	// MinRequests is how many calls an instance must have had since the last look.
	MinRequests int `json:"minRequests,omitempty" example:"50" default:"100"`
	// Stdev is how many standard deviations below the mean are too bad.
	Stdev float64 `json:"stdev,omitempty" example:"2.5" default:"1.9"`
	// FailurePercent is the percentage of failures that is too bad, whatever the others do. Undeclared: no such rule.
	FailurePercent int `json:"failurePercent,omitempty" example:"80" zero:"no"`
}

// Breaker says when calls are refused at once.
type Breaker struct {
	// Off refuses none.
	Off bool `json:"off,omitempty" example:"true"`
	// Window is the time over which calls are counted, 1s to 10m.
	Window core.Duration `json:"window,omitempty" example:"30s" default:"10s"`
	// Least is how many calls the window must hold.
	Least int `json:"least,omitempty" example:"50" default:"20"`
	// Percent is the percentage of failed calls from which it opens.
	Percent int `json:"percent,omitempty" example:"30" default:"50"`
	// Open is how long it stays open at first, 100ms to openMax; it doubles with each trial that fails.
	Open core.Duration `json:"open,omitempty" example:"10s" default:"5s"`
	// OpenMax is the longest, at most 1h.
	OpenMax core.Duration `json:"openMax,omitempty" example:"5m" default:"1m"`
	// Slow is the time from which a call that succeeded counts as failed. Undeclared: never.
	Slow core.Duration `json:"slow,omitempty" example:"5s" zero:"no"`
}

// Concurrency bounds how many calls are at the service at one time.
type Concurrency struct {
	// Max is a hard bound over all instances, the bulkhead. Undeclared: none but the adaptive one.
	Max int `json:"max,omitempty" example:"64" zero:"no"`
	// Queue is how many may wait for their turn, at most 10000; -1: none. Undeclared: as many as may be at the service.
	Queue int `json:"queue,omitempty" example:"100" zero:"no"`
	// Wait is how long one may wait, at most 1m. Undeclared: a tenth of the time that is left of its timeout.
	Wait core.Duration `json:"wait,omitempty" example:"50ms" zero:"no"`
	// Adaptive is off, or undeclared: the bound follows how long answers take.
	Adaptive string `json:"adaptive,omitempty" enum:"off" example:"off"`
	// MinLimit bounds the adaptive bound from below.
	MinLimit int `json:"minLimit,omitempty" example:"10" default:"20"`
	// InitialLimit is what it begins with, for each instance.
	InitialLimit int `json:"initialLimit,omitempty" example:"50" default:"100"`
	// MaxLimit bounds it from above, for each instance.
	MaxLimit int `json:"maxLimit,omitempty" example:"500" default:"200"`
}

// RetryBudget bounds repeats.
type RetryBudget struct {
	// Percent is how many repeats a hundred calls allow, at most 100; -1: none but the floor's.
	Percent int `json:"percent,omitempty" example:"10" default:"20"`
	// Floor is how many repeats a second are allowed in any case, at most 1000; -1: none.
	Floor int `json:"floor,omitempty" example:"5" default:"10"`
	// Window is how long calls and repeats count, 1s to 1m.
	Window core.Duration `json:"window,omitempty" example:"30s" default:"10s"`
}

// Over gives t on top of d: each field of t that is declared, else that of d.
func (t Traffic) Over(d Traffic) Traffic {
	if t.Balance == nil {
		t.Balance = d.Balance
	}
	if t.Outliers == nil {
		t.Outliers = d.Outliers
	}
	if t.Breaker == nil {
		t.Breaker = d.Breaker
	}
	if t.Concurrency == nil {
		t.Concurrency = d.Concurrency
	}
	if t.RetryBudget == nil {
		t.RetryBudget = d.RetryBudget
	}
	return t
}

// Defaults is what is the same for the whole system unless a use, a path of the gateway
// or a service says otherwise. Fields have the names that they have there: those of
// uses hold for uses and expose, those of expose for expose, those of traffic for every service.
type Defaults struct {
	core.EdgePolicy
	Traffic
}

// The sections. Traffic stands with the service that is called.
var (
	TrafficSection  = core.Section[Traffic]{Kind: core.KindService, Name: "traffic", Help: "how calls to it are spread and bounded, whoever makes them"}
	DefaultsSection = core.Section[Defaults]{Kind: core.KindSystem, Name: "defaults", Help: "how calls are carried, unless a use, a path of the gateway or a service says otherwise"}
)

// DefaultsOf gives the defaults of the System of a state.
func DefaultsOf(state core.State) Defaults {
	sys, ok := state.System()
	if !ok {
		return Defaults{}
	}
	return DefaultsSection.Of(sys)
}
