package flow

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"stoa/internal/engine/cache"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/snapshot"
)

// fallback is what a route has in the place of a failure, in the order in which it is tried.
type fallback struct {
	cached    time.Duration // the last good answer, no older than this; 0: none
	static    *snapshot.Static
	elsewhere *Upstream

	busy atomic.Int64 // requests at elsewhere
}

// maxElsewhere bounds how many requests of a route may be at the upstream that stands in,
// besides that upstream's own limits: so that the outage does not move there.
const maxElsewhere = 64

func (f *fallback) compile(c *snapshot.Fallback, t *Table) {
	if c == nil {
		return
	}
	f.cached, f.static = c.Cached, c.Static
	if c.Upstream != "" {
		f.elsewhere = t.upstreams[c.Upstream]
	}
}

func (f *fallback) declared() bool { return f.cached > 0 || f.static != nil || f.elsewhere != nil }

// failure are the statuses in whose place something else may stand.
func failure(status int) bool { return status >= 502 && status <= 504 }

// Failed gives what stands in for a failure that would be the answer: an answer, or
// elsewhere, an upstream that is to be asked, once, see Elsewhere. With neither, f is
// answered. The failure is the outcome of the exchange in any case.
func (m *Memo) Failed(f *Refusal) (g *Given, elsewhere *Upstream) {
	x, fb := m.x, &m.r.fallback
	m.unshared()
	if !failure(f.Status) || !retry.Safe(m.req.Method) || f.Reason == hop.Cancelled {
		return nil, nil
	}
	if m.answered == 0 {
		x.Rec.Reason, x.Rec.Error, x.Rec.Status = f.Reason, f.Error(), f.Status
		x.fails()
		if m.looked {
			now := time.Now().UnixNano()
			if e := m.look.Failed(m.r.cache, now); e != nil {
				return m.standIn(e, now, "stale-if-error"), nil
			}
		}
		if g := m.replace(); g != nil {
			return g, nil
		}
	}
	switch d := x.Deadline(); {
	case fb.elsewhere == nil || fb.elsewhere == x.Up || m.req.Body, !d.IsZero() && !time.Now().Before(d):
	case fb.busy.Add(1) > maxElsewhere:
		fb.busy.Add(-1)
	default:
		return nil, fb.elsewhere
	}
	if fb.declared() {
		m.counted("none")
	}
	return nil, nil
}

// failing judges the answer of the service, which is a failure: what is given in its place, or a
// refusal for Failed if another upstream is to be asked, or neither and it is relayed.
func (m *Memo) failing(status int) Verdict {
	m.unshared()
	m.answered = status
	m.x.Rec.Status = status
	if g := m.replace(); g != nil {
		return Verdict{Give: g}
	}
	fb := &m.r.fallback
	if fb.elsewhere != nil {
		service := m.x.Up.Service
		return Verdict{Refusal: &Refusal{Reason: hop.Upstream, Status: status,
			Text: fmt.Sprintf("%s answered %d, and %s cannot stand in for it", service, status, fb.elsewhere.Service),
			Hint: "See its state: stoa why " + service}}
	}
	if fb.declared() {
		m.counted("none")
	}
	return Verdict{}
}

// replace gives what is here to stand in for a failure, or nil.
func (m *Memo) replace() *Given {
	fb := &m.r.fallback
	if fb.cached > 0 {
		now := time.Now().UnixNano()
		if e := m.r.good.Find(&m.req, fb.cached, now); e != nil {
			return m.standIn(e, now, "last-good")
		}
	}
	s := fb.static
	if s == nil {
		return nil
	}
	m.x.fails()
	m.x.Rec.Fallback = "static"
	m.x.Mark("Stoa-Fallback", "static")
	m.counted("static")
	g := given(cmp.Or(s.Status, 200), cmp.Or(s.ContentType, "text/plain; charset=utf-8"), s.Body, m.req.Method == "HEAD")
	g.Fields = append(g.Fields, cache.Field{Name: "Cache-Control", Value: "no-store"})
	return g
}

// standIn gives e in the place of a failure.
func (m *Memo) standIn(e *cache.Entry, now int64, detail string) *Given {
	m.x.fails()
	m.x.Rec.Fallback = "cached"
	m.x.Mark("Stoa-Fallback", e.Fallback(now))
	m.status(cache.Status{Forwarded: m.look.Why, Code: m.answered, Entry: e, Detail: detail}, now)
	m.counted("cached")
	return m.from(e, now)
}

// Elsewhere says how it went at the upstream that Failed named: whether its answer is given.
func (m *Memo) Elsewhere(good bool) {
	fb := &m.r.fallback
	fb.busy.Add(-1)
	if !good {
		m.counted("none")
		return
	}
	m.x.fails()
	name := "service=" + fb.elsewhere.Service
	m.x.Rec.Fallback = name
	if !m.x.candid() {
		name = "service" // outside, services have no names
	}
	m.x.Mark("Stoa-Fallback", name)
	m.counted("service")
}

func (m *Memo) counted(kind string) { m.x.P.marks.fallbacks.With(m.x.Rec.Callee, kind).Add(1) }

// fails tells breaker and limits of a failure that the caller will not see, before the
// status of what stands in becomes the record's.
func (x *Exchange) fails() { x.settle(Now()) }
