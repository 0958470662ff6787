// Package inject is the twin of the module that makes calls slow or fail on purpose, for
// tests and game days.
//
// Faults are no part of a blueprint: no apply makes, changes or ends one. Each ends by
// itself, at the latest a day after it was injected.
package inject

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"stoa/api/core"
	"stoa/api/op"
)

// FromGateway is the caller of what comes from outside, through the gateway.
const FromGateway = "gateway"

// Percent is a share above 0 and at most 100, written "30%" or "30". The zero Percent
// is one that was not given.
type Percent float64

// String gives "30%".
func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'g', -1, 64) + "%" }

// MarshalText gives the text form.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads it.
func (p *Percent) UnmarshalText(b []byte) error {
	x, err := strconv.ParseFloat(strings.TrimSuffix(string(b), "%"), 64)
	if err != nil || math.IsNaN(x) || x <= 0 || x > 100 {
		return fmt.Errorf("want a share in percent above 0 and at most 100, such as 30, not %q", b)
	}
	*p = Percent(x)
	return nil
}

// FaultIn asks for a fault. It delays, aborts, or both; the fields from percent to header
// choose the calls, and a call must meet all that are given.
type FaultIn struct {
	Service string        `json:"service" arg:"SERVICE" help:"the service that seems to be slow or to fail"`
	Abort   int           `json:"abort,omitempty" flag:"abort" help:"answer with this status, 400 to 599, in the place of the service (to gRPC calls: with the code that it stands for)"`
	Delay   core.Duration `json:"delay,omitempty" flag:"delay" help:"wait so long before a call goes on, at most 5m"`
	Jitter  core.Duration `json:"jitter,omitempty" flag:"jitter" help:"wait up to so much longer, at random"`
	Percent Percent       `json:"percent,omitempty" flag:"percent" help:"the share of the calls that meet it, such as 30 or 0.5 (default: 100)"`
	From    string        `json:"from,omitempty" flag:"from" help:"only calls of this service; gateway: only those from outside (default: whoever calls)"`
	Header  string        `json:"header,omitempty" flag:"header" help:"only calls with this header: NAME, or 'NAME: VALUE'"`
	For     core.Duration `json:"for,omitempty" flag:"for" help:"how long, 1s to 24h; then it ends by itself (default: 5m)"`
	Name    string        `json:"name,omitempty" flag:"name" help:"what it is called in answers, traces and lines (default: SERVICE and a number)"`
	Reason  string        `json:"reason,omitempty" flag:"reason" help:"why, for those who meet it"`
}

// Fault is one that is injected, or was until now.
type Fault struct {
	Name    string        `json:"name"`
	Service string        `json:"service"`
	Does    string        `json:"does"` // what, to whom and until when, as one sentence
	Abort   int           `json:"abort,omitempty"`
	Delay   core.Duration `json:"delay,omitempty"`
	Jitter  core.Duration `json:"jitter,omitempty"`
	Percent Percent       `json:"percent"`
	From    string        `json:"from,omitempty"`
	Header  string        `json:"header,omitempty"`
	Began   core.Time     `json:"began"`
	Until   core.Time     `json:"until"` // when it ends by itself
	By      string        `json:"by"`
	Reason  string        `json:"reason,omitempty"`

	// What it has done so far on this node, in attempts: a call that is repeated may meet it again.
	Matched uint64 `json:"matched"` // attempts that its selectors chose, also where the share did not
	Delayed uint64 `json:"delayed"` // that it made wait; of several faults the one that delays longest does
	Aborted uint64 `json:"aborted"` // that it answered; of several faults the first does
}

// FaultsIn asks for the faults in force.
type FaultsIn struct {
	Service string `json:"service,omitempty" arg:"SERVICE,optional" help:"only those of this service (default: all)"`
}

// Faults are those in force, those first that end first.
type Faults struct {
	Faults []Fault `json:"faults"`
}

// ClearIn says which faults are to end now.
type ClearIn struct {
	What []string `json:"what,omitempty" arg:"FAULT,rest" help:"its name, or that of a service of which all faults end (default: all faults)"`
}

// Cleared are the faults that were ended.
type Cleared struct {
	Faults []Fault `json:"faults"`
}

// The operations.
var (
	InjectOp = op.Op[FaultIn, Fault]{Name: "inject", Help: "make calls to a service slow or fail, for a while", Example: "stoa inject inventory --abort 503 --percent 30 --for 5m", Effect: op.Write}
	FaultsOp = op.Op[FaultsIn, Faults]{Name: "faults", Help: "list the faults that are injected, by whom and until when", Example: "stoa faults"}
	ClearOp  = op.Op[ClearIn, Cleared]{Name: "faults.clear", Help: "end injected faults before their time", Example: "stoa faults clear inventory", Effect: op.Write}
)
