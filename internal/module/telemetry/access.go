package telemetry

import (
	"fmt"
	"time"

	"stoa/api/core"
	"stoa/api/telemetry"
	"stoa/internal/engine/hop"
)

// maxAccess is how many access lines are kept a second; a busy system shows its rates,
// not each of its requests.
const maxAccess = 1000

// accessTally is what the access log told of the requests to one callee.
type accessTally struct {
	lines uint64 // requests that have a line
	over  uint64 // requests that have none, as there were too many in that second
	told  uint64 // requests of which a line says that they have none
	known uint64 // of over, those in told
}

// accessed keeps the access line of a hop, if there is room for it.
func (m *Module) accessed(r *hop.Record) {
	ok := m.access.take(m.o.Now(), maxAccess)
	m.rates.line(r.Callee, ok)
	if !ok {
		m.lost.With("access").Add(1)
		return
	}
	m.logs.add(accessLine(r))
}

// line notes that a request to the callee has a line, or that there was no room for it.
func (r *rates) line(callee string, kept bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.callee(callee)
	if kept {
		c.access.lines++
	} else {
		c.access.over++
	}
}

// tell writes into the access log, for each callee, how many requests have no line there. It
// is called every second, after a look, and tells when it is due.
func (m *Module) tell(due bool) {
	for _, l := range m.rates.unwritten(due) {
		m.lost.With("sampled").Add(l.total - l.over)
		m.logs.add(telemetry.Line{At: core.At(m.o.Now()), Service: l.callee, Stream: "access", Level: "info",
			Text: fmt.Sprintf("%d more requests have no line: %d not sampled, %d beyond %d lines/s", l.total, l.total-l.over, l.over, maxAccess)})
	}
}

// unwritten is how many requests to a callee have no line.
type unwritten struct {
	callee      string
	total, over uint64
}

// unwritten gives those that were not told before. A request is counted a moment before its
// record is read, so that only those count that were there a second ago.
func (r *rates) unwritten(due bool) (all []unwritten) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, c := range r.callees {
		if a := &c.access; due && c.before > a.lines+a.told {
			n := c.before - a.lines - a.told
			over := min(n, a.over-a.known)
			a.told += n
			a.known += over
			if name == "" {
				name = gatewayName
			}
			all = append(all, unwritten{name, n, over})
		}
		c.before = c.count
	}
	return all
}

// budget is so many a second.
type budget struct {
	second int64
	used   int
}

func (b *budget) take(at time.Time, most int) bool {
	if s := at.Unix(); s != b.second {
		b.second, b.used = s, 0
	}
	b.used++
	return b.used <= most
}

func accessLine(r *hop.Record) telemetry.Line {
	level := "info"
	if r.Failed() {
		level = "error"
	}
	caller := r.Caller
	if caller == "" {
		caller = gatewayName
	}
	l := telemetry.Line{
		At: core.At(r.Start), Service: r.Callee, Instance: r.Instance, Stream: "access", Level: level, TraceID: traceID(r),
		Text: fmt.Sprintf("%s %s %d %s from %s", r.Method, r.Path, r.Status, r.Duration.Round(10*time.Microsecond), caller),
	}
	if r.Protocol == "tcp" {
		l.Text = fmt.Sprintf("tcp %d bytes in, %d out, %s from %s", r.In, r.Out, r.Duration.Round(10*time.Microsecond), caller)
	}
	if r.Reason != "" {
		l.Text += " (" + string(r.Reason) + ")"
	}
	if r.Fallback != "" {
		l.Text += " (fallback " + r.Fallback + ")"
	}
	if r.Callee == "" {
		l.Service = gatewayName
	}
	return l
}

func traceID(r *hop.Record) string {
	if r.Trace.IsZero() {
		return ""
	}
	return r.Trace.String()
}
