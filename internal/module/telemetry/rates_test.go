package telemetry

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stoa/api/core"
	"stoa/api/telemetry"
	"stoa/internal/ground/meter"
)

// traffic counts as the proxy does.
type traffic struct {
	requests  meter.Counters
	durations meter.Histograms
}

func newTraffic(r *meter.Registry) traffic {
	return traffic{
		r.Counter(meter.Desc{Name: requestsFamily, Labels: []string{"caller", "callee", "route", "class"}}),
		r.Histogram(meter.Desc{Name: durationFamily, Unit: "seconds", Labels: []string{"caller", "callee", "route"}}),
	}
}

func (f traffic) pass(caller, callee, route, class string, took time.Duration) {
	f.requests.With(caller, callee, route, class).Add(1)
	f.durations.With(caller, callee, route).Observe(int64(took))
}

// Rates look back ten seconds and no further, over all routes between two services, and
// quantiles are right to an eighth.
func TestRates(t *testing.T) {
	reg := meter.New()
	r, now := newRates(reg), noon
	r.look(now) // before anything is registered
	f := newTraffic(reg)
	for i := range 100 {
		class := "2xx"
		if i%10 == 0 {
			class = "5xx"
		}
		f.pass("", "orders", fmt.Sprint("route", i%3), class, time.Duration(i+1)*time.Millisecond)
	}
	f.pass("", "", "", "4xx", time.Hour) // no route: nobody was called
	r.look(now)
	rate, p99, share := r.to("orders", now.Add(time.Second))
	if rate != 10 || share != 0.1 || p99 < 99*0.875 || p99 > 99*1.125 {
		t.Errorf("rate %v, p99 %v, share %v", rate, p99, share)
	}
	now = now.Add(5 * time.Second)
	for range 20 {
		f.pass("web", "orders", "route0", "2xx", time.Millisecond)
	}
	if rate, _, _ := r.to("orders", now); rate != 12 { // an answer looks by itself
		t.Errorf("rate %v after 20 more, want 12", rate)
	}
	now = now.Add((window - 5) * time.Second)
	r.look(now)
	if rate, p99, share := r.to("orders", now); rate != 2 || share != 0 || p99 > 1.125 {
		t.Errorf("after the window of the first: rate %v, p99 %v, share %v", rate, p99, share)
	}
	all := r.all(now)
	if len(all) != 2 || all[0].From != "web" || all[0].Total != 20 || all[1].Total != 100 || all[1].From != "gateway" || all[1].Rate != 0 || all[1].P99Millis != 0 {
		t.Errorf("%+v", all)
	}
	r.look(now.Add(time.Hour))
	for e, er := range r.edges {
		if len(er.buckets) != 0 {
			t.Errorf("%v keeps %d buckets of long ago", e, len(er.buckets))
		}
	}
}

// A duration that is observed a moment after its request was counted is not lost.
func TestRatesSeeALateDuration(t *testing.T) {
	reg := meter.New()
	r, f := newRates(reg), newTraffic(reg)
	f.requests.With("", "a", "", "2xx").Add(1)
	r.look(noon)
	f.durations.With("", "a", "").Observe(int64(time.Second))
	if _, p99, _ := r.to("a", noon.Add(time.Second)); p99 < 800 {
		t.Errorf("p99 %v ms, want 1000", p99)
	}
}

// A series that is dropped takes its history with it, and one of the same name begins anew.
func TestRatesOfDroppedSeries(t *testing.T) {
	reg := meter.New()
	r, f := newRates(reg), newTraffic(reg)
	for range 2 {
		f.requests.With("", "a", "", "2xx").Add(5)
		r.look(noon)
		f.requests.Drop("", "a", "", "2xx")
		r.look(noon)
	}
	if all := r.all(noon); len(all) != 1 || all[0].Total != 10 || all[0].Rate != 1 || len(r.counters) != 0 {
		t.Errorf("%+v, %d series", all, len(r.counters))
	}
}

// Who looks often at what does not change allocates nothing.
func TestAnIdleLookAllocatesNothing(t *testing.T) {
	reg := meter.New()
	r, f := newRates(reg), newTraffic(reg)
	for i := range 1000 {
		f.pass("", fmt.Sprint(i), "", "2xx", time.Millisecond)
	}
	r.look(noon)
	now := noon.Add(time.Minute)
	r.look(now)
	if n := testing.AllocsPerRun(100, func() { r.look(now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The access log says of how many requests it has no line, once, and why; it says nothing
// while each has one.
func TestAccessLogTellsWhatItLeavesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := meter.New()
		m := New(Options{Meters: reg})
		f := newTraffic(reg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.run(ctx, func() {}) }()
		told := func() (lines []string) {
			all, _, _, err := m.logs.past(ctx, choice{tail: 10_000, access: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range all {
				if strings.Contains(l.Text, "have no line") {
					lines = append(lines, l.Service+": "+l.Text)
				}
			}
			return lines
		}
		pass := func(n, recorded int) {
			for i := range n {
				f.pass("", "orders", "", "2xx", time.Millisecond)
				if i < recorded {
					r := record(1, 1, 0, "", "orders", 0, time.Millisecond, 200)
					m.ring.Hop(r)
				}
			}
		}
		for range 30 {
			pass(50, 50)
			<-time.After(500 * time.Millisecond)
		}
		if lines := told(); lines != nil {
			t.Errorf("every request has a line, yet: %q", lines)
		}
		pass(5000, 100)
		<-time.After(2 * window * time.Second)
		pass(2*maxAccess, 2*maxAccess)
		<-time.After(5 * window * time.Second)
		want := []string{"orders: 4900 more requests have no line: 4900 not sampled, 0 beyond 1000 lines/s",
			"orders: 1000 more requests have no line: 0 not sampled, 1000 beyond 1000 lines/s"}
		if lines := told(); strings.Join(lines, "\n") != strings.Join(want, "\n") {
			t.Errorf("told %q\nwant %q", lines, want)
		}
		if n := m.lost.With("sampled").Value(); n != 4900 {
			t.Errorf("%d counted as not sampled, want 4900", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// top tells what the resilience patterns do: over the last seconds, and how they stand.
func TestTopTellsOfGuards(t *testing.T) {
	reg, now := meter.New(), noon
	m := New(Options{Meters: reg, Now: func() time.Time { return now }})
	top := func(all bool) (out telemetry.TopOut, text string) {
		seq, err := m.top(t.Context(), telemetry.TopIn{All: all})
		if err != nil {
			t.Fatal(err)
		}
		for out, err = range seq {
			if err != nil {
				t.Fatal(err)
			}
		}
		var b strings.Builder
		printTop(&b, out)
		return out, b.String()
	}
	if _, text := top(true); strings.Contains(text, "STATE") {
		t.Errorf("of nothing:\n%s", text)
	}
	shed := reg.Counter(meter.Desc{Name: "stoa_proxy_shed_total", Labels: []string{"upstream", "why", "priority"}})
	shed.With("stock", "breaker", "normal").Add(30)
	shed.With("stock", "breaker", "critical").Add(10)
	reg.Counter(meter.Desc{Name: "stoa_proxy_retries_total", Labels: []string{"callee"}}).With("stock").Add(123)
	reg.Counter(meter.Desc{Name: "stoa_proxy_rate_limited_total", Labels: []string{"listener", "route"}}).With("gateway", "web /").Add(5)
	reg.Gauge(meter.Desc{Name: "stoa_proxy_breaker_state", Labels: []string{"upstream"}}).With("stock").Set(1)
	reg.Gauge(meter.Desc{Name: "stoa_proxy_ejected_endpoints", Labels: []string{"upstream"}}).With("stock").Set(2)
	reg.Gauge(meter.Desc{Name: "stoa_proxy_limit_requests", Labels: []string{"upstream"}}).With("calm").Set(20)
	out, text := top(false)
	for _, want := range []string{"stock          breaker open, 2 ejected  12.3/s retried, 4.0/s refused (breaker)", "gateway web /  -                        0.5/s refused (rate)"} {
		if !strings.Contains(text, want) {
			t.Errorf("top lacks %q:\n%s", want, text)
		}
	}
	if len(out.Guards) != 2 || strings.Contains(text, "calm") {
		t.Errorf("who is at rest is shown:\n%s", text)
	}
	now = now.Add(time.Minute)
	if _, text := top(false); strings.Contains(text, "refused") || !strings.Contains(text, "breaker open") {
		t.Errorf("a minute later:\n%s", text)
	}
	if _, text := top(true); !strings.Contains(text, "0.0/s refused (breaker) [40]") {
		t.Errorf("all, a minute later:\n%s", text)
	}
}

// Of a breaker it is told since when it is open and what came before, of what was shed which
// priorities, of a rate whose it is; who is at rest is told of to those who ask for all.
func TestTopTellsTheStory(t *testing.T) {
	reg, now := meter.New(), noon
	m := New(Options{Meters: reg, Now: func() time.Time { return now }})
	f := newTraffic(reg)
	guards := func(all bool) map[string]telemetry.Guard {
		seq, err := m.top(t.Context(), telemetry.TopIn{All: all})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]telemetry.Guard{}
		for o := range seq {
			for _, g := range o.Guards {
				out[g.Name] = g
			}
		}
		return out
	}
	breaker := reg.Gauge(meter.Desc{Name: "stoa_proxy_breaker_state", Labels: []string{"upstream"}}).With("stock/grpc")
	breaker.Set(0)
	for i := range 40 {
		f.pass("web", "stock", "web>stock", map[bool]string{true: "5xx", false: "2xx"}[i%4 == 0], time.Millisecond)
	}
	f.pass("", "web", "web /", "4xx", time.Millisecond)
	if g := guards(false); len(g) > 0 {
		t.Errorf("of what is at rest: %+v", g)
	}
	if g, ok := guards(true)["stock/grpc"]; !ok || g.Service != "stock" || g.Since != nil {
		t.Errorf("all, at rest: %+v", g)
	}

	now = now.Add(2 * time.Second)
	for range 7 {
		f.pass("web", "stock", "web>stock", "5xx", time.Millisecond) // in the second in which it opens: the breaker's own
	}
	breaker.Set(1)
	shed := reg.Counter(meter.Desc{Name: "stoa_proxy_shed_total", Labels: []string{"upstream", "why", "priority"}})
	shed.With("stock/grpc", "shed", "low").Add(30)
	shed.With("stock/grpc", "limit", "low").Add(10)
	shed.With("stock/grpc", "breaker", "critical").Add(20)
	reg.Counter(meter.Desc{Name: "stoa_proxy_rate_limited_total", Labels: []string{"listener", "route"}}).With("gateway", "web /").Add(5)
	g := guards(false)
	opened := core.At(now)
	if s := g["stock/grpc"]; s.Since == nil || *s.Since != opened || s.Before == nil || *s.Before != (telemetry.Passed{Requests: 40, Failed: 10}) {
		t.Errorf("as it opens: since %v before %+v, want %v and 10 of 40", s.Since, s.Before, opened)
	}
	if got, want := g["stock/grpc"].Shed, []telemetry.Shed{
		{Priority: "critical", Why: "breaker", Rate: 2, Total: 20}, {Priority: "low", Why: "limit", Rate: 1, Total: 10}, {Priority: "low", Why: "shed", Rate: 3, Total: 30},
	}; !slices.Equal(got, want) {
		t.Errorf("shed %+v, want %+v", got, want)
	}
	if r := g["gateway web /"]; r.Service != "web" {
		t.Errorf("the rate is that of %q, want web: %+v", r.Service, r)
	}

	now = now.Add(5 * time.Second)
	breaker.Set(2)
	if s := guards(false)["stock/grpc"]; s.Since == nil || *s.Since != core.At(now) || s.Before == nil || s.Before.Requests != 40 {
		t.Errorf("half open: since %v before %+v, want %v and the same", s.Since, s.Before, core.At(now))
	}
	hasty := reg.Gauge(meter.Desc{Name: "stoa_proxy_timeout_breaker_state", Labels: []string{"upstream", "timeout"}}).With("stock/grpc", "2s")
	hasty.Set(1)
	opened = core.At(now)
	if s := guards(false)["stock/grpc"]; len(s.Hasty) != 1 || s.Hasty[0].Timeout != "2s" || s.Hasty[0].Breaker != "open" || *s.Hasty[0].Since != opened ||
		!strings.Contains(state(&s), "breaker open for those who wait 2s") {
		t.Errorf("of those in a hurry: %+v, %s", s.Hasty, state(&s))
	}
	hasty.Set(0)
	breaker.Set(0)
	if s := guards(false)["stock/grpc"]; len(s.Hasty) > 0 || s.Breaker != "" || s.Since != nil || s.Before != nil {
		t.Errorf("closed again: %+v", s)
	}
}

func BenchmarkLook(b *testing.B) {
	for _, share := range []int{0, 1, 100} {
		b.Run(fmt.Sprintf("%d%%moved", share), func(b *testing.B) {
			reg := meter.New()
			r, f := newRates(reg), newTraffic(reg)
			for i := range 10_000 {
				f.pass("", fmt.Sprint(i/10), fmt.Sprint(i), "2xx", time.Millisecond)
			}
			now := noon
			r.look(now)
			r.look(now)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for i := range 100 * share {
					f.pass("", fmt.Sprint(i/10), fmt.Sprint(i), "2xx", time.Millisecond)
				}
				b.StartTimer()
				now = now.Add(time.Second)
				r.look(now)
			}
		})
	}
}
