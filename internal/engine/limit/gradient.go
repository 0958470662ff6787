package limit

import "math"

// The adaptive limit's figures: Gradient2 of Netflix's concurrency-limits, with windows
// closed by time so that the same figures serve services of 100 us and of 10 s.
const (
	tolerance = 1.5 // a window may be this much slower than usual: with less, chance alone shrinks the limit
	leastGrad = 0.5 // the most that one window shrinks the limit by, before smoothing
	headroom  = 4   // the least growth, before smoothing; above a limit of 16 it is the root of the limit
	smoothing = 0.2 // of a new limit

	memory = 600 // windows that the usual latency remembers
	begin  = 4   // windows whose plain mean it begins with: in the first the fast answers are too many
	warm   = 10  // windows in which it still falls at once, and rises ten times as fast as later
	doubt  = 0.1 // how fast it learns under suspicion, else it learns the overload

	dropShare  = 0.1 // of what ended in a window: more drops, and the limit shrinks by half their share
	backOff    = 0.9 // of the limit, when a slow window has drops
	fewSamples = 10  // in slowWindow: about one a second, where gradients are noise

	probe    = 0.6 // of the concurrency: the cut after which latency must have fallen, if the load was its cause
	relief   = 0.8 // to at most this much of what it was
	evidence = 60  // answers that must say so, for the mean of 60 is seldom wrong by a fifth

	spare    = 4    // times the concurrency seen: what a limit that is not reached sinks to
	sinkTime = 20e9 // nanoseconds it takes for most of the way
	brisk    = 50e6 // nanoseconds: a service that takes less keeps its initial limit when idle
)

// gradient is the adaptive limit: pure, owned by whoever holds Limiter.mu.
type gradient struct {
	limit   float64
	min     float64 // latency alone shrinks it no further; timeouts do
	max     float64
	initial float64
	usual   float64 // latency, nanoseconds; 0: not known
	windows int     // measured so far, up to warm

	suspect bool // that there is more load than is good: then, and only then, what follows counts
	limit0  float64
	high    mean // latency while about as much was in flight as when the suspicion arose
	peak0   float64
	low     mean // latency with clearly less
	settled bool // the window before had clearly less in flight, too
}

// mean is a running one of latencies.
type mean struct{ n, sum float64 }

func (m *mean) add(n int, mean float64) { m.n += float64(n); m.sum += float64(n) * mean }
func (m *mean) of() float64             { return m.sum / m.n }

// window is what was seen between two decisions.
type window struct {
	span  float64 // nanoseconds
	ok    int     // successes
	short float64 // their mean latency, nanoseconds
	drops int     // timeouts, and refusals by overload
	peak  int     // the most requests in flight
}

// window moves the limit after one window.
func (g *gradient) window(w window) {
	full := float64(w.peak) >= g.limit/2 // with less in flight nothing is learned about more
	share := float64(w.drops) / max(1, float64(w.ok+w.drops))
	switch few := w.ok+w.drops < fewSamples; {
	case few && w.drops > 0:
		g.limit *= backOff
	case few && w.ok > 0 && full:
		g.limit++
	case few:
	case share > dropShare:
		if full {
			g.limit *= 1 - share/2
			g.usual *= 1 - share/4 // what callers do not wait for is not what is usual
			g.suspect = false
		}
	case !full:
		g.suspect = false
		g.learn(w.short, 1)
		g.idle(w)
	default:
		g.loaded(w)
	}
	g.limit = min(max(g.limit, 1), g.max)
}

// loaded is a window of a service that is used up to the limit, with answers.
func (g *gradient) loaded(w window) {
	grad := 1.0
	if g.windows > 0 {
		grad = min(max(tolerance*g.usual/w.short, leastGrad), 1)
	}
	if grad == 1 {
		g.suspect = false
		g.learn(w.short, 1)
	} else {
		g.learn(w.short, doubt)
		if g.test(w) {
			return
		}
	}
	next := g.limit*grad + max(headroom, math.Sqrt(g.limit))
	if next < g.limit {
		next = min(max(next, g.min), g.limit) // below min only drops have brought it
	}
	g.limit += smoothing * (next - g.limit)
}

// learn moves the usual latency, at full pace or slower.
func (g *gradient) learn(short, pace float64) {
	f := pace * 2 / (memory + 1)
	switch {
	case g.windows < begin, g.windows < warm && short < g.usual:
		f = 1 / float64(g.windows+1)
	case g.windows < warm:
		f *= 10
	}
	g.windows = min(g.windows+1, warm)
	g.usual += (short - g.usual) * f
	if g.usual > 2*short {
		g.usual *= 0.9
	}
}

// idle lets a limit sink that is far above what is used, if the service is slow: where an
// answer takes a second, a burst of a hundred is a backlog that nobody waits for.
//
// A limit that timeouts have brought below its least comes back.
func (g *gradient) idle(w window) {
	if g.limit < g.min {
		g.limit = min(g.limit+headroom, g.min)
		return
	}
	to := max(g.initial*min(1, brisk/g.usual), spare*float64(w.peak), g.min)
	if to < g.limit {
		g.limit += (to - g.limit) * min(1, w.span/sinkTime)
	}
}

// test asks whether the load is why the service is slow. The shrinking limit is the
// experiment: when there is clearly less in flight and the latency has not fallen, the
// service has become slower by itself. Then that is its usual latency, and the limit goes
// back to where it was. Without it, most requests to a release that takes twice the time
// are refused until the memory has forgotten.
func (g *gradient) test(w window) (cleared bool) {
	peak := float64(w.peak)
	switch {
	case !g.suspect:
		*g = gradient{limit: g.limit, min: g.min, max: g.max, initial: g.initial, usual: g.usual, windows: g.windows,
			suspect: true, limit0: g.limit, peak0: peak}
		g.high.add(w.ok, w.short)
	case peak > probe*g.peak0:
		// Late windows count more: at the beginning the latency is still rising.
		g.high.n, g.high.sum = g.high.n/2, g.high.sum/2
		g.high.add(w.ok, w.short)
		g.peak0 = max(g.peak0, peak)
		g.low, g.settled = mean{}, false
	case !g.settled:
		g.settled = true // many that ended in this window began when there was more in flight
	default:
		g.low.add(w.ok, w.short)
		if g.low.n < evidence {
			break
		}
		if g.low.of() > relief*g.high.of() {
			g.usual, g.limit = g.low.of(), max(g.limit, g.limit0)
			g.suspect = false
			return true
		}
		g.suspect = false // it fell: the load was why; what is left may ask again
	}
	return false
}
