package flow

import (
	"testing"
	"time"

	"stoa/internal/engine/limit"
	"stoa/internal/engine/rate"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// BenchmarkRefusal is what a refusal costs in the brain, its answer included; BenchmarkExchange is
// what one that is served costs there, without the attempt and the copying.
func BenchmarkRefusal(b *testing.B) {
	one := rate.Config{Rate: rate.Rate{N: 1, Per: time.Hour}}
	for name, c := range map[string]struct {
		policy   snapshot.Policy
		upstream snapshot.Upstream
	}{
		"rate":    {policy: snapshot.Policy{Rates: []rate.Config{one}}},
		"rates":   {policy: snapshot.Policy{Rates: []rate.Config{{Rate: rate.Rate{N: 1000, Per: time.Second}, Per: "client"}, one}}},
		"breaker": {},
		"limit":   {upstream: snapshot.Upstream{Limit: limit.Config{Max: 1, Queue: -1, Adaptive: limit.Off}}},
	} {
		b.Run(name, func(b *testing.B) {
			p := plane(b, c.policy, c.upstream)
			var holder Exchange
			arrive(b, &holder, p, "in", said{})
			holder.Admit(AtOnce)
			if name == "breaker" {
				for range 30 {
					call(b, p, "in", answers(500, -1))
				}
			}
			var x Exchange
			var hit route.Hit
			var req Request = said{}
			l := p.Table().Listeners["in"]
			b.ReportAllocs()
			for b.Loop() {
				x.Begin(p, time.Now(), "in", "HTTP/1.1")
				x.At(l)
				x.Req = req
				x.Rec.Method, x.Rec.Host, x.Rec.Path = "GET", "u", "/"
				x.Trace("", false)
				x.Find(l, &hit)
				_, f := x.Admit(AtOnce)
				if f == nil {
					b.Fatal("it was let through")
				}
				x.Refuse(f, "", "*/*")
				x.Finish()
			}
		})
	}
}
