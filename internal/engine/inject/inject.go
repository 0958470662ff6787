// Package inject decides which calls are made slow or fail on purpose, for tests and game
// days: so that one learns what breaks before it breaks.
//
//	faults --Compile--> Set --Of(callee)--> *Rules, nil for nearly all --Decide--> delay, abort
//
// Faults are plain data: they travel in a snapshot, survive a restart with it, and end at
// their Until whether or not anybody remembers to take them away or can reach the node:
// each decision compares it with the time it is given. At most MaxAhead lies between.
//
// Where a fault acts. The node of the caller acts in the place of the service, once for
// every attempt: it waits, and if the fault aborts, the attempt is not sent and the answer is
// made here. To all that the caller's side does about a failing service this is an answer of the
// service: retries and their budget, the breaker, the deadline (a delay never outlasts
// what is left of it), hedges, fallbacks. That is what a game day is for. It is not the
// endpoint's doing, so it counts neither against the endpoint (ejection, latency score,
// adaptive limit) nor against the service's objectives, and the record of the hop, the
// metrics and the answer (Stoa-Injected) say that it was injected, by which fault.
//
// Faults do not ask for one another: each draws by itself, the longest delay and the first
// abort in the order of their ids count. A caller cannot cause a fault that was not declared;
// with a Header condition it can choose to meet one that was, so that a tester may be
// alone with it. What comes from outside can send that header too, and harms itself alone.
//
// The package is pure: no clock, no goroutine, no randomness of its own, no allocation in
// Decide. A Set never changes but for what it counts (Hits), which goes on in the set that
// follows it; any number of goroutines ask it.
package inject

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// The bounds of a fault and of a set.
const (
	MaxDelay  = 5 * time.Minute // Delay and Jitter together
	MaxAhead  = 24 * time.Hour  // from now to Until
	MaxFaults = 64              // in a set
	maxText   = 256             // bytes of an id, a selector, a reason
)

// A Place is where a fault acts.
type Place string

// AtCaller is the only place so far: the node of the caller, see the package comment.
// Empty means it too.
const AtCaller Place = "caller"

// Header is a condition on the request. Without Value, the header need only be there.
type Header struct {
	Name  string `json:"name,omitempty"`  // empty: no condition
	Value string `json:"value,omitempty"` // equal, byte for byte
}

// Fault is one of them. The selectors name exactly; "" is any.
type Fault struct {
	ID      string        `json:"id"`               // unique
	Caller  string        `json:"caller,omitempty"` // a service; Outside for the gateway
	Callee  string        `json:"callee,omitempty"` // a service
	Route   string        `json:"route,omitempty"`  // the name of a rule
	Header  Header        `json:"header,omitzero"`
	Percent float64       `json:"percent"`          // share of the calls selected, 0 to 100; 0 is a fault that rests
	Delay   time.Duration `json:"delay,omitempty"`  // before the call is sent, or aborted
	Jitter  time.Duration `json:"jitter,omitempty"` // up to as much more, evenly
	Abort   int           `json:"abort,omitempty"`  // status to answer with, 400 to 599; 0: the call goes on. See GRPC
	At      Place         `json:"at,omitempty"`
	Until   int64         `json:"until"`            // when it ends by itself, ns since 1970
	Reason  string        `json:"reason,omitempty"` // for people
	By      string        `json:"by,omitempty"`     // who asked for it
}

// Outside is the caller of what comes through the gateway.
const Outside = "gateway"

// Check reports what is wrong with f at now (ns since 1970), each with the path of its field.
func (f Fault) Check(now int64, bad func(path, text, hint string)) {
	if f.ID == "" {
		bad("id", "is empty", "Give the fault a name, such as inventory-slow.")
	}
	for _, t := range []struct{ path, text string }{{"id", f.ID}, {"caller", f.Caller}, {"callee", f.Callee}, {"route", f.Route},
		{"header.name", f.Header.Name}, {"header.value", f.Header.Value}, {"reason", f.Reason}, {"by", f.By}} {
		if len(t.text) > maxText || strings.ContainsFunc(t.text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			bad(t.path, fmt.Sprintf("has more than %d bytes or a control character", maxText), "Give a shorter text on one line.")
		}
	}
	if f.Header.Name == "" && f.Header.Value != "" {
		bad("header.name", "is empty, but there is a value", "Name the header, or leave the condition out.")
	}
	if math.IsNaN(f.Percent) || f.Percent < 0 || f.Percent > 100 {
		bad("percent", fmt.Sprintf("%v is not between 0 and 100", f.Percent), "Give a share in percent, such as 30.")
	}
	switch {
	case f.Delay < 0 || f.Delay > MaxDelay:
		bad("delay", fmt.Sprintf("%s is not between 0 and %s", f.Delay, MaxDelay), "Give a delay such as 2s.")
	case f.Jitter < 0 || f.Jitter > MaxDelay || f.Delay+f.Jitter > MaxDelay:
		bad("jitter", fmt.Sprintf("delay and jitter are not between 0 and %s together", MaxDelay), "Give a jitter such as 500ms.")
	}
	switch {
	case f.Abort != 0 && (f.Abort < 400 || f.Abort > 599):
		bad("abort", fmt.Sprintf("%d is no status of a failure", f.Abort), "Give a status from 400 to 599, such as 503.")
	case f.Abort == 0 && f.Delay <= 0 && f.Jitter <= 0:
		bad("abort", "the fault neither delays nor aborts", "Give a delay, an abort, or both.")
	}
	if f.At != "" && f.At != AtCaller {
		bad("at", fmt.Sprintf("%q is no place where faults act", f.At), "Leave it out: faults act at the caller.")
	}
	switch {
	case f.Until <= now:
		bad("until", "is over already", "Give a time to come, at most 24h ahead.")
	case f.Until-now > int64(MaxAhead):
		bad("until", fmt.Sprintf("is more than %s ahead", MaxAhead), "Give less, and ask again when it is over.")
	}
}

// Check reports what is wrong with faults as a whole and with each, with paths as "[2].percent".
func Check(faults []Fault, now int64, bad func(path, text, hint string)) {
	if len(faults) > MaxFaults {
		bad("", fmt.Sprintf("%d faults are more than %d", len(faults), MaxFaults), "Take some away first.")
	}
	seen := map[string]int{}
	for i, f := range faults {
		f.Check(now, func(path, text, hint string) { bad(fmt.Sprintf("[%d].%s", i, path), text, hint) })
		if j, twice := seen[f.ID]; twice && f.ID != "" {
			bad(fmt.Sprintf("[%d].id", i), fmt.Sprintf("%q is the id of [%d] too", f.ID, j), "Give each fault a name of its own.")
		}
		seen[f.ID] = i
	}
}

// Live gives those of faults that are not over at now, in their order.
func Live(faults []Fault, now int64) []Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f Fault) bool { return f.Until <= now })
}

// Next is when the first of faults ends, or 0 if there is none: when to look again.
func Next(faults []Fault) int64 {
	var next int64
	for _, f := range faults {
		if next == 0 || f.Until < next {
			next = f.Until
		}
	}
	return next
}
