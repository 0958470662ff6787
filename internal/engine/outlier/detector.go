package outlier

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Why is the rule by which a host was ejected, or how it came back.
type Why string

// The reasons.
const (
	InARow     Why = "consecutive" // 5xx in a row
	InARowGate Why = "gateway"     // 502, 503, 504 in a row
	InARowNone Why = "local"       // no answer, in a row
	Rate       Why = "success-rate"
	Percentage Why = "failure-percentage"
	Served     Why = "served"   // it is back: its time is over
	Disabled   Why = "disabled" // it is back: outlier detection is off
)

// Decision is that a host is ejected, or back.
type Decision struct {
	Index   int // in the hosts that were given
	Host    *Host
	Ejected bool
	Until   int64 // when it may return; for one that is back, now
	Count   int   // by which the length was multiplied
	Why     Why
	Text    string // for people: "5 failures in a row, peers fail in 0.2 % of requests"
}

// Detector judges the hosts of one upstream. The zero value judges by the defaults. It
// keeps no hosts: each call is given those of the moment, and hosts that leave are
// forgotten with them.
type Detector struct {
	cfg atomic.Pointer[Config] // with its defaults; nil means all defaults
	due atomic.Int64           // when the next sweep is; 0 before the first call

	mu sync.Mutex // held while deciding, so that the cap holds
}

var defaults = Config{}.filled()

// Use makes c the rules from now on. What hosts did before still counts.
func (d *Detector) Use(c Config) {
	c = c.filled()
	d.cfg.Store(&c)
}

func (d *Detector) rules() *Config {
	if c := d.cfg.Load(); c != nil {
		return c
	}
	return &defaults
}

// Report counts how an attempt at h ended. True asks for Consider: so many failed in a
// row. It is true again at each further failure until twice the row, then now and then.
func (d *Detector) Report(h *Host, x Result) bool {
	r := h.count(x)
	if x == Success {
		return false
	}
	c := d.rules()
	if c.Off {
		return false
	}
	if x == Local {
		return reached(r.locals(), c.Local)
	}
	return reached(r.failures(), c.Consecutive) || x == Gateway && reached(r.gateways(), c.Gateway)
}

func reached(row, limit int) bool {
	return limit > 0 && row >= limit && (row < 2*limit || row%limit == 0)
}

// Consider decides whether h, one of hosts, is ejected for its failures in a row. It is
// for the call after a Report that was true.
func (d *Detector) Consider(now int64, h *Host, hosts []*Host) (Decision, bool) {
	c := d.rules()
	if c.Off {
		return Decision{}, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r := rows(h.rows.Load())
	var why Why
	var row int
	switch {
	case c.Gateway > 0 && r.gateways() >= c.Gateway:
		why, row = InARowGate, r.gateways()
	case c.Consecutive > 0 && r.failures() >= c.Consecutive:
		why, row = InARow, r.failures()
	case c.Local > 0 && r.locals() >= c.Local:
		why, row = InARowNone, r.locals()
	default:
		return Decision{}, false // a success came between
	}
	index := -1
	var peers counts
	for i, o := range hosts {
		if o == h {
			index = i
			continue
		}
		peers = peers.plus(o.now.read()).plus(o.before)
	}
	if index < 0 || !d.mayLocked(now, c, h, hosts) {
		return Decision{}, false
	}
	bad, what := peers.failed, "failures"
	if why == InARowNone {
		bad, what = peers.local, "attempts without an answer"
	}
	mine := h.now.read().plus(h.before).all()
	p := (float64(bad) + 0.5) / (float64(peers.all()) + 2)
	if float64(max(mine, int64(row)))*math.Pow(p, float64(row)) >= chance {
		return Decision{}, false // it may as well be the requests
	}
	return ejectLocked(now, c, index, h, why, fmt.Sprintf("%d %s in a row; its peers had %d in %d requests", row, what, bad, peers.all())), true
}

// mayLocked says whether h may be ejected: it is in service, and so few are ejected
// that one more leaves enough.
func (d *Detector) mayLocked(now int64, c *Config, h *Host, hosts []*Host) bool {
	if h.until.Load() > now {
		return false
	}
	out := 0
	for _, o := range hosts {
		if o.until.Load() > now {
			out++
		}
	}
	return out < c.most(len(hosts))
}

func ejectLocked(now int64, c *Config, index int, h *Host, why Why, text string) Decision {
	n := 1
	if last := h.record.Load(); last != nil {
		n = last.count + 1
	}
	length := c.Cap
	if n <= int(c.Cap/c.Base) {
		length = time.Duration(n) * c.Base
	} else {
		n = int((c.Cap + c.Base - 1) / c.Base) // no more to forgive than counts
	}
	until := now + int64(float64(length)*(1+jitter*rand.Float64()))
	h.record.Store(&record{n, why, text})
	h.until.Store(until)
	h.back = until
	h.total.Add(1)
	h.rows.Store(0)
	return Decision{index, h, true, until, n, why, text}
}

// Due is when Sweep has something to do; 0 before its first call.
func (d *Detector) Due() int64 { return d.due.Load() }

// Sweep looks at the rates since the last sweep and gives what changes: who is ejected,
// and who is back. Before Due it does nothing, so it may be called as often as one likes;
// a host returns when its time is over, whether or not anybody sweeps.
func (d *Detector) Sweep(now int64, hosts []*Host) []Decision {
	if due := d.due.Load(); due > now {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.rules()
	due := d.due.Load()
	if due > now {
		return nil // another was first
	}
	d.due.Store(now + int64(c.Sweep))
	if due == 0 {
		return nil // nothing is known of how long they counted
	}
	var out []Decision
	for i, h := range hosts {
		h.before = h.now.take()
		if x, ok := returnLocked(now, c, i, h); ok {
			out = append(out, x)
		}
		forgiveLocked(now, c, h)
	}
	if c.Off {
		return out
	}
	out = d.rateLocked(now, c, hosts, out)
	return d.percentageLocked(now, c, hosts, out)
}

// returnLocked notices that the time of h is over.
func returnLocked(now int64, c *Config, i int, h *Host) (Decision, bool) {
	u := h.until.Load()
	if u == 0 || u > now && !c.Off {
		return Decision{}, false
	}
	x := Decision{Index: i, Host: h, Until: now, Why: Served, Text: "back in service"}
	if u > now {
		x.Why, x.Text, h.back = Disabled, "back in service, for outlier detection is off", now
	}
	if r := h.record.Load(); r != nil {
		x.Count = r.count
	}
	h.until.Store(0)
	h.rows.Store(0) // of panic, or of attempts that began before
	return x, true
}

// forgiveLocked takes one off the count for each base in service.
func forgiveLocked(now int64, c *Config, h *Host) {
	r := h.record.Load()
	if r == nil || r.count == 0 || h.until.Load() != 0 || now-h.back < int64(c.Base) {
		return
	}
	n := min(int64(r.count), (now-h.back)/int64(c.Base))
	h.back += n * int64(c.Base)
	h.record.Store(&record{r.count - int(n), r.why, r.text})
}

// rateLocked ejects those whose success rate is far below the mean.
func (d *Detector) rateLocked(now int64, c *Config, hosts []*Host, out []Decision) []Decision {
	if c.MinHosts < 0 {
		return out
	}
	rate := func(h *Host) (float64, bool) {
		n := h.before.all()
		if n == 0 || n < int64(c.MinRequests) || h.until.Load() > now {
			return 0, false
		}
		return float64(h.before.ok) / float64(n), true
	}
	n, sum := 0, 0.0
	for _, h := range hosts {
		if r, ok := rate(h); ok {
			n++
			sum += r
		}
	}
	if n < max(c.MinHosts, 2) {
		return out
	}
	mean, sq := sum/float64(n), 0.0
	for _, h := range hosts {
		if r, ok := rate(h); ok {
			sq += (r - mean) * (r - mean)
		}
	}
	limit := min(mean-c.Stdev*math.Sqrt(sq/float64(n)), mean-minGap)
	return d.worstLocked(now, c, hosts, out, Rate, func(h *Host) (float64, string, bool) {
		r, ok := rate(h)
		return r, fmt.Sprintf("%.1f %% of its requests succeed; the mean of %d hosts is %.1f %%", r*100, n, mean*100), ok && r < limit
	})
}

// percentageLocked ejects those of which so many fail, unless those of their peers do too.
func (d *Detector) percentageLocked(now int64, c *Config, hosts []*Host, out []Decision) []Decision {
	if c.FailurePercent <= 0 {
		return out
	}
	var all counts
	for _, h := range hosts {
		all = all.plus(h.before)
	}
	return d.worstLocked(now, c, hosts, out, Percentage, func(h *Host) (float64, string, bool) {
		n := h.before.all()
		if n < minPercent {
			return 0, "", false
		}
		bad := float64(n-h.before.ok) / float64(n)
		peers := 0.0
		if k := all.all() - n; k > 0 {
			peers = float64(k-(all.ok-h.before.ok)) / float64(k)
		}
		return -bad, fmt.Sprintf("%.1f %% of its requests fail, of its peers' %.1f %%", bad*100, peers*100),
			bad*100 >= float64(c.FailurePercent) && peers*2 < bad
	})
}

// worstLocked ejects hosts that judge finds wanting, the one with the lowest score
// first, as many as may be.
func (d *Detector) worstLocked(now int64, c *Config, hosts []*Host, out []Decision, why Why, judge func(*Host) (score float64, text string, bad bool)) []Decision {
	for {
		worst, least, said := -1, 0.0, ""
		for i, h := range hosts {
			if h.until.Load() > now {
				continue
			}
			if score, text, bad := judge(h); bad && (worst < 0 || score < least) {
				worst, least, said = i, score, text
			}
		}
		if worst < 0 || !d.mayLocked(now, c, hosts[worst], hosts) {
			return out
		}
		out = append(out, ejectLocked(now, c, worst, hosts[worst], why, said))
	}
}
