package telemetry

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math/bits"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"stoa/api/core"
	"stoa/api/telemetry"
	"stoa/internal/engine/hop"
)

// window is how many seconds rates look back.
const window = 10

// maxEdges bounds the pairs of caller and callee; names come from documents, so that
// only a system of that size reaches it.
const maxEdges = 10_000

type edge struct{ from, to string }

// rates counts what passed between services, in buckets of one second.
type rates struct {
	mu    sync.Mutex
	edges map[edge]*edgeRate // guarded by mu
}

type edgeRate struct {
	total   uint64
	buckets [window]bucket
}

// A bucket is one second. Its histogram has four cells for each power of two of a
// microsecond, so that a quantile is right to a quarter.
type bucket struct {
	second int64
	count  uint32
	errors uint32
	cells  [histogramCells]uint32
}

const histogramCells = 4 * 32

func cell(us int64) int {
	if us < 4 {
		return int(max(0, us))
	}
	exp := bits.Len64(uint64(us)) - 1 // at least 2
	return min(histogramCells-1, 4*(exp-1)+int(us>>(exp-2))&3)
}

// middle gives a value, in microseconds, that the cell stands for.
func middle(c int) float64 {
	if c < 4 {
		return float64(c)
	}
	exp := c/4 + 1
	low := float64(uint64(4+c%4) << (exp - 2))
	return low + float64(uint64(1)<<(exp-2))/2
}

func newRates() *rates { return &rates{edges: map[edge]*edgeRate{}} }

func (r *rates) add(rec *hop.Record, now time.Time) {
	e := edge{rec.Caller, rec.Callee}
	if e.from == "" {
		e.from = gatewayName
	}
	if e.to == "" { // no route: nobody was called
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	er := r.edges[e]
	if er == nil {
		if len(r.edges) >= maxEdges {
			return
		}
		er = &edgeRate{}
		r.edges[e] = er
	}
	second := now.Unix()
	b := &er.buckets[second%window]
	if b.second != second {
		*b = bucket{second: second}
	}
	er.total++
	b.count++
	if rec.Failed() {
		b.errors++
	}
	b.cells[cell(rec.Duration.Microseconds())]++
}

// sum is what passed in the window.
type sum struct {
	count, errors uint64
	cells         [histogramCells]uint64
}

func (s *sum) add(er *edgeRate, now int64) {
	for i := range er.buckets {
		b := &er.buckets[i]
		if b.second <= now-window || b.second > now {
			continue
		}
		s.count += uint64(b.count)
		s.errors += uint64(b.errors)
		for c, n := range b.cells {
			s.cells[c] += uint64(n)
		}
	}
}

func (s *sum) share() float64 {
	if s.count == 0 {
		return 0
	}
	return float64(s.errors) / float64(s.count)
}

// millis gives a quantile in milliseconds.
func (s *sum) millis(q float64) float64 {
	if s.count == 0 {
		return 0
	}
	rank, seen := uint64(q*float64(s.count-1)), uint64(0)
	for c, n := range s.cells {
		if seen += n; seen > rank {
			return middle(c) / 1000
		}
	}
	return 0
}

// to gives what passed to a service, from whomever.
func (r *rates) to(service string, now time.Time) (rate, p99, share float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var s sum
	for e, er := range r.edges {
		if e.to == service {
			s.add(er, now.Unix())
		}
	}
	return float64(s.count) / window, s.millis(0.99), s.share()
}

// all gives every edge, busiest first.
func (r *rates) all(now time.Time) []telemetry.EdgeRate {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []telemetry.EdgeRate{}
	for e, er := range r.edges {
		var s sum
		s.add(er, now.Unix())
		out = append(out, telemetry.EdgeRate{From: e.from, To: e.to, Rate: float64(s.count) / window, ErrorRate: s.share(),
			P50Millis: s.millis(0.5), P99Millis: s.millis(0.99), Total: er.total})
	}
	slices.SortFunc(out, func(a, b telemetry.EdgeRate) int {
		switch {
		case a.Rate > b.Rate:
			return -1
		case a.Rate < b.Rate:
			return 1
		case a.From+"\x00"+a.To < b.From+"\x00"+b.To:
			return -1
		}
		return 1
	})
	return out
}

// top gives the traffic of the moment, once or every second.
func (m *Module) top(ctx context.Context, in telemetry.TopIn) (iter.Seq2[telemetry.TopOut, error], error) {
	return func(yield func(telemetry.TopOut, error) bool) {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			now := m.o.Now()
			if !yield(telemetry.TopOut{At: core.At(now), Edges: m.rates.all(now), All: in.All}, nil) || !in.Follow {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

func printTop(w io.Writer, t telemetry.TopOut) {
	fmt.Fprintf(w, "%s, over the last %d s\n", t.At.Local().Format(time.TimeOnly), window)
	var idle int
	edges := slices.DeleteFunc(slices.Clone(t.Edges), func(e telemetry.EdgeRate) bool {
		if t.All || e.Rate > 0 {
			return false
		}
		idle++
		return true
	})
	switch {
	case len(t.Edges) == 0:
		fmt.Fprintln(w, "No request yet.")
		return
	case len(edges) == 0:
		fmt.Fprintf(w, "No request in this time. What passed before: stoa top -a (%d)\n", idle)
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "FROM\tTO\tREQ/S\tERRORS\tP50\tP99\tTOTAL")
	for _, e := range edges {
		fmt.Fprintf(tw, "%s\t%s\t%.1f\t%.1f%%\t%.1fms\t%.1fms\t%d\n", e.From, e.To, e.Rate, 100*e.ErrorRate, e.P50Millis, e.P99Millis, e.Total)
	}
	tw.Flush()
	if idle > 0 {
		fmt.Fprintf(w, "Idle now: %d more; stoa top -a shows them\n", idle)
	}
}
