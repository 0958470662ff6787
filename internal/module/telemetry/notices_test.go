package telemetry

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/internal/ground/meter"
)

// What a breaker, a bound and the outlier rules do is a condition of the service, from the
// first trouble on, and a line of the log at each turn: when it begins, and when it is over.
func TestWhatDefencesDoIsObservedAndLogged(t *testing.T) {
	reg, now := meter.New(), noon
	seen := map[string]core.Condition{}
	var log strings.Builder
	m := New(Options{
		Meters: reg, Now: func() time.Time { return now },
		State: func() core.State {
			ref := core.Ref{Kind: core.KindService, Name: "stock"}
			return core.State{Docs: map[core.Ref]core.Document{ref: {Kind: ref.Kind, Name: ref.Name}}}
		},
		Observe: func(ref core.Ref, c core.Condition) { seen[ref.Name+" "+c.Type] = c },
		Log:     func() *slog.Logger { return slog.New(slog.NewTextHandler(&log, nil)) },
	})
	f, h := newTraffic(reg), newHerald(m)
	step := func(d time.Duration) string {
		now = now.Add(d)
		log.Reset()
		m.look(now)
		h.tell(now)
		return log.String()
	}
	breaker := reg.Gauge(meter.Desc{Name: breakerFamily, Labels: []string{"upstream"}})
	ejected := reg.Gauge(meter.Desc{Name: "stoa_proxy_ejected_endpoints", Labels: []string{"upstream"}})
	reg.Gauge(meter.Desc{Name: "stoa_proxy_limit_requests", Labels: []string{"upstream"}}).With("stock").Set(64)
	shed := reg.Counter(meter.Desc{Name: "stoa_proxy_shed_total", Labels: []string{"upstream", "why", "priority"}})
	breaker.With("stock").Set(0)
	for i := range 40 {
		f.pass("market", "stock", "market>stock", map[bool]string{true: "5xx", false: "2xx"}[i%4 == 0], time.Millisecond)
	}
	for i := range 9 {
		r := record(byte(i+1), byte(i+1), 0, "market", "stock", time.Duration(i)*time.Second, time.Millisecond, 500)
		if i == 8 {
			r.Status, r.Reason = 503, "breaker" // a witness of nothing
		}
		m.traces.add(r)
	}
	if text := step(time.Second); text != "" || len(seen) > 0 {
		t.Errorf("at rest: %s, %v", text, seen)
	}

	breaker.With("stock").Set(1)
	breaker.With("gone").Set(1) // a service that is no longer declared
	text := step(time.Second)
	c := seen["stock Breaker"]
	if c.Status != core.False || c.Reason != "Open" || c.Message != "calls are refused: in the 10 s before it opened, 10 of 40 requests had failed" ||
		!strings.Contains(c.Hint, "stoa traces --errors --service stock") || !c.Since.Equal(now) {
		t.Errorf("open: %+v", c)
	}
	if len(c.Evidence) != maxWitness || !strings.Contains(c.Evidence[4], "from market: 500 after 1ms, trace 08") {
		t.Errorf("evidence:\n%s", strings.Join(c.Evidence, "\n"))
	}
	if !strings.Contains(text, "stock: breaker open: calls are refused") || len(seen) != 1 {
		t.Errorf("log %s, conditions %v", text, seen)
	}
	if text := step(time.Second); text != "" {
		t.Errorf("told again: %s", text)
	}
	breaker.With("stock").Set(2)
	if text := step(time.Second); !strings.Contains(text, "breaker half-open") || seen["stock Breaker"].Reason != "HalfOpen" {
		t.Errorf("half open: %s, %+v", text, seen["stock Breaker"])
	}
	breaker.With("stock").Set(0)
	if text := step(3 * time.Second); !strings.Contains(text, "breaker closed after 5s: calls pass again") || seen["stock Breaker"].Status != core.True {
		t.Errorf("closed: %s, %+v", text, seen["stock Breaker"])
	}

	shed.With("stock", "breaker", "low").Add(5) // is told by the breaker
	shed.With("stock", "limit", "low").Add(5)
	ejected.With("stock").Set(1)
	reg.Counter(meter.Desc{Name: "stoa_proxy_ejections_total", Labels: []string{"upstream", "why"}}).With("stock", "consecutive").Add(1)
	text = step(time.Second)
	if c := seen["stock Limit"]; c.Reason != "Refusing" || !strings.Contains(c.Message, "64 at one time") || !strings.Contains(text, "stock: limit reached: ") {
		t.Errorf("%+v, %s", c, text)
	}
	if c := seen["stock Outliers"]; c.Reason != "Ejected" || c.Message != "1 of its instances is left alone for a while (consecutive)" {
		t.Errorf("%+v", c)
	}
	ejected.With("stock").Set(0)
	if text := step(11 * time.Second); !strings.Contains(text, "limit no longer reached after 11s") || !strings.Contains(text, "outliers all back") || seen["stock Limit"].Status != core.True {
		t.Errorf("over: %s, %+v", text, seen["stock Limit"])
	}
}

// However often breakers change, the log has a bounded number of lines, and says that there were more.
func TestNoticesAreBounded(t *testing.T) {
	reg, now := meter.New(), noon
	var log strings.Builder
	m := New(Options{Meters: reg, Now: func() time.Time { return now }, Log: func() *slog.Logger { return slog.New(slog.NewTextHandler(&log, nil)) }})
	h, breaker := newHerald(m), reg.Gauge(meter.Desc{Name: breakerFamily, Labels: []string{"upstream"}})
	for i := range 300 {
		now = now.Add(100 * time.Millisecond)
		breaker.With("a").Set(float64(i % 2))
		m.look(now)
		h.tell(now)
	}
	if n := strings.Count(log.String(), "\n"); n < maxNotices || n > 4*(maxNotices+1) || !strings.Contains(log.String(), "more changes") {
		t.Errorf("%d lines in 30 s:\n%s", n, log.String())
	}
}
