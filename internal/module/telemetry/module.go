// Package telemetry is the capability that keeps what was observed: hops of requests,
// rates of traffic, lines of output.
//
//	proxy ──series, read every second──▶ rates (memory, ten buckets of a second an edge)
//	  └──hop.Ring (never waits)──▶ reader ──▶ traces (memory, bounded by spans)
//	                                  └─────▶ access lines ─┐
//	instances, builds, Stoa ────────────────────────────────┴▶ logs (disk, bounded segments)
//
// The proxy records all hops while there are few, and a sample of them when there are many;
// its series count each. So rates are exact, a trace may be one of many, and the access log
// says how many requests have no line.
//
// Telemetry may be lost and never holds anything up: what finds a bound reached is
// dropped and counted. Traces and rates are in memory and end with Stoa; lines of
// output outlive it.
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"stoa/api/core"
	"stoa/api/telemetry"
	"stoa/internal/engine/hop"
	"stoa/internal/ground/life"
	"stoa/internal/ground/meter"
	"stoa/internal/kernel/host"
)

// Options tune a Module. The zero value is a good default.
type Options struct {
	Dir    string                   // where lines are kept; "" keeps them in memory only
	Meters *meter.Registry          // what /metrics shows; nil means an empty one
	Now    func() time.Time         // nil means time.Now
	Hide   func(text string) string // takes secrets out of what passed the proxy; nil changes nothing
	State  func() core.State        // what is declared, to tell a name that nobody has; nil asks nobody

	Observe func(core.Ref, core.Condition) // is told what breakers, bounds and outliers do to calls of services; nil is told nothing
	Log     func() *slog.Logger            // the platform's own, which is made after the module; nil: what they do is not logged
}

// Module is the capability.
type Module struct {
	o      Options
	ring   *hop.Ring
	traces *traces
	rates  *rates
	guards *guards
	logs   *logs
	access budget // run owns it
	lost   meter.Counters
}

var _ host.Module = (*Module)(nil)

// New returns the module. Lines that are written before Run are kept in memory.
func New(o Options) *Module {
	if o.Meters == nil {
		o.Meters = meter.New()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Module{o: o, ring: hop.NewRing(0), traces: newTraces(), rates: newRates(o.Meters), guards: newGuards(o.Meters), logs: newLogs(o.Dir, o.Now)}
	m.lost = o.Meters.Counter(meter.Desc{Name: "stoa_telemetry_dropped_total", Help: "Records that found a bound reached, by what they were.", Labels: []string{"what"}})
	m.logs.lost = func(lines int) { m.lost.With("line").Add(uint64(lines)) }
	return m
}

// Name is the module's name.
func (m *Module) Name() string { return "telemetry" }

// Declare states the operations, the exposition and the part.
func (m *Module) Declare(c *host.Catalog) {
	host.Follow(c, telemetry.LogsOp, m.followLogs, printLine)
	host.Handle(c, telemetry.TraceOp, m.trace, printTrace)
	host.Handle(c, telemetry.TracesOp, m.list, printTraces)
	host.Follow(c, telemetry.TopOp, m.top, printTop)
	c.Endpoint("GET /metrics", "Prometheus exposition of Stoa and of what passes through it; OpenMetrics with exemplars for who accepts it", http.HandlerFunc(m.expose))
	c.Part(life.Part{Name: "telemetry", Run: m.run})
}

// Sink takes the hops of the proxy.
func (m *Module) Sink() hop.Sink { return m.ring }

// The names under which lines are kept that are no service's. No service may have them.
const (
	gatewayName = "gateway" // requests that found no route
	StoaName    = "stoa"    // the platform itself
)

// run reads the ring, looks at the rates and writes the lines until ctx ends.
func (m *Module) run(ctx context.Context, ready func()) error {
	if err := m.logs.open(); err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}
	var lives sync.WaitGroup
	lives.Go(func() { m.logs.write(ctx) })
	lives.Go(func() { m.watch(ctx) })
	ready()
	buf := make([]hop.Record, 256)
	var dropped uint64
	for {
		n, err := m.ring.Read(ctx, buf)
		for i := range buf[:n] {
			m.keep(&buf[i])
			buf[i] = hop.Record{} // let go of its strings
		}
		if d := m.ring.Dropped(); d > dropped {
			m.lost.With("hop").Add(d - dropped)
			dropped = d
		}
		if err != nil {
			lives.Wait()
			m.logs.close()
			return nil
		}
	}
}

func (m *Module) keep(r *hop.Record) {
	if m.o.Hide != nil {
		r.Path, r.Error = m.o.Hide(r.Path), m.o.Hide(r.Error)
	}
	m.traces.add(r)
	m.rates.exemplify(r)
	m.accessed(r)
}

// watch looks at the rates every second.
func (m *Module) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	herald := newHerald(m)
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := m.o.Now()
		m.look(now)
		herald.tell(now)
		m.tell(n%window == 0)
	}
}

// look reads the series of the proxy.
func (m *Module) look(now time.Time) {
	m.rates.look(now)
	m.guards.look(now, func(service string) telemetry.Passed { return m.rates.before(service, now) })
}

// Line keeps a line of output. It does not keep the slice.
func (m *Module) Line(service, instance, stream string, line []byte) {
	if !m.logs.add(parseLine(m.o.Now(), service, instance, stream, line)) {
		m.lost.With("line").Add(1)
	}
}

// Rates gives what passed to a service over the last 10 s.
func (m *Module) Rates(service string) (rate, p99Millis, errorShare float64) {
	return m.rates.to(service, m.o.Now())
}
