package dashtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/platform"
	"stoa/api/telemetry"
)

// Requests come every 700 ms; the number of one is its time, so its trace can be made again from its id.
const requestEvery = 700 * time.Millisecond

func traceID(n int) string { return fmt.Sprintf("%08x4bf92f3577b34da6a3ce929d", uint32(n)*2654435761) }

var requests = []string{"GET /", "GET /products/espresso-cup", "POST /cart", "GET /cart", "POST /orders", "GET /orders/10042"}

// walk gives the spans of request n: down the calls of the graph, at most six deep.
func (s *system) walk(n int) []telemetry.Span {
	at := time.UnixMilli(int64(n) * requestEvery.Milliseconds())
	name := requests[n%len(requests)]
	method, path, _ := strings.Cut(name, " ")
	var spans []telemetry.Span
	var visit func(from, parent string, depth int, offset int64) int64
	visit = func(from, parent string, depth int, offset int64) int64 {
		var took int64
		k := 0
		for i, e := range s.graph.Edges {
			if e.From != from || s.rates[e.From+">"+e.To] == 0 || depth > 5 || (from == "gateway" && k > 0) || (from != "gateway" && (n+i)%3 == 0) {
				continue
			}
			k++
			id := fmt.Sprintf("%016x", uint64(n)*1000+uint64(len(spans))+1)
			x := telemetry.Span{SpanID: id, ParentID: parent, Caller: from, Callee: e.To, Method: method, Path: path, Protocol: e.Protocol, Status: 200, Depth: depth, OffsetMicros: offset + took + 180, Endpoint: "127.0.0.1:41007"}
			if from == "gateway" {
				x.Caller = ""
			} else {
				x.Method, x.Path = "GET", "/"+e.To
			}
			if e.Protocol == "h2c" {
				x.Method, x.Path, x.GRPCStatus = "POST", "/shop.Inventory/Reserve", "OK"
			}
			own := int64(900+(n*131+i*977)%5200) / int64(1+depth)
			at0 := len(spans)
			spans = append(spans, x)
			inner := visit(e.To, id, depth+1, x.OffsetMicros+own/3)
			x.DurationMicros = own + inner
			if s.errors[e.From+">"+e.To] > 0.3 {
				x.Status, x.Reason, x.Error, x.Endpoint = 503, "no ready instance", e.To+" has no instance that is ready", ""
				if from == "gateway" || inner > 0 {
					x.Status, x.Reason, x.Error = 502, "", "answered 502"
				}
			}
			x.Start = core.At(at.Add(time.Duration(x.OffsetMicros) * time.Microsecond))
			spans[at0] = x
			took += x.DurationMicros + 60
		}
		return took
	}
	visit("gateway", "", 0, 0)
	return spans
}

func (s *system) head(n int) (telemetry.TraceHead, bool) {
	spans := s.walk(n)
	if len(spans) == 0 {
		return telemetry.TraceHead{}, false
	}
	h := telemetry.TraceHead{ID: traceID(n), Start: spans[0].Start, Name: spans[0].Method + " " + spans[0].Path, Status: spans[0].Status, DurationMicros: spans[0].DurationMicros, Hops: len(spans)}
	for _, x := range spans {
		if x.Error != "" {
			h.Errors++
		}
		if !slices.Contains(h.Services, x.Callee) {
			h.Services = append(h.Services, x.Callee)
		}
	}
	return h, true
}

func (s *system) traces(now time.Time, service string, errors bool) []telemetry.TraceHead {
	var out []telemetry.TraceHead
	newest := int(now.UnixMilli() / requestEvery.Milliseconds())
	for n := newest; n > newest-40; n-- {
		h, ok := s.head(n)
		if !ok || service != "" && !slices.Contains(h.Services, service) || errors && h.Errors == 0 {
			continue
		}
		out = append(out, h)
	}
	return out
}

func (s *system) trace(id string, now time.Time) (telemetry.Trace, bool) {
	newest := int(now.UnixMilli() / requestEvery.Milliseconds())
	for n := newest; n > newest-4000 && len(id) >= 8; n-- {
		if !strings.HasPrefix(traceID(n), id) {
			continue
		}
		spans := s.walk(n)
		if len(spans) == 0 {
			return telemetry.Trace{}, false
		}
		t := telemetry.Trace{ID: traceID(n), Start: spans[0].Start, DurationMicros: spans[0].DurationMicros, Spans: spans}
		for i, x := range spans {
			level, text := "info", "answered "+x.Method+" "+x.Path
			if x.Error != "" {
				level, text = "error", x.Error
			}
			t.Lines = append(t.Lines, telemetry.Line{At: core.At(x.Start.Add(time.Duration(i) * time.Millisecond)), Service: x.Callee, Stream: "stdout", Level: level, Text: text, TraceID: t.ID})
		}
		return t, true
	}
	return telemetry.Trace{}, false
}

// line gives log line n, which is always the same.
func (s *system) line(n int, at time.Time) (telemetry.Line, bool) {
	if len(s.graph.Nodes) == 0 {
		return telemetry.Line{}, false
	}
	node := s.graph.Nodes[n*7%len(s.graph.Nodes)]
	l := telemetry.Line{At: core.At(at), Service: node.Name, Instance: node.Name + "-1", Stream: "stdout", Level: "info"}
	texts := []string{"request answered", "stock reserved", "cache refreshed", "price looked up", "cart saved"}
	l.Text = texts[n%len(texts)]
	l.Fields = map[string]any{"sku": fmt.Sprintf("CUP-%02d", n%40), "took_ms": n % 23}
	l.TraceID = traceID(int(at.UnixMilli() / requestEvery.Milliseconds()))
	switch {
	case s.state[node.Name].LastError != "":
		l.Level, l.Stream, l.Text, l.Fields = "error", "stderr", "ledger: open /data/ledger.db: permission denied", nil
	case n%17 == 3:
		l.Level, l.Text = "warn", "slow answer, the pool is nearly empty"
	case n%11 == 5:
		l.Level, l.Text, l.TraceID = "debug", "heartbeat", ""
	case n%29 == 1:
		l.Level, l.Text, l.Fields, l.TraceID = "", "listening on the port it was given", nil, ""
	}
	return l, true
}

// why tells the last changes of a service.
func (s *system) why(service string, now time.Time) platform.Why {
	began := now.Truncate(time.Hour)
	at := func(d time.Duration) core.Time { return core.At(began.Add(-d)) }
	starting := core.Condition{Type: "Ready", Status: core.False, Reason: "Starting", Message: "revision 41 changed env.LEDGER", Since: at(3 * time.Minute), Revision: 41}
	ready := core.Condition{Type: "Ready", Status: core.True, Reason: "Ready", Message: "GET /readyz answered 200 after 340 ms", Since: at(40 * time.Minute), Revision: 40}
	out := platform.Why{Ref: core.Ref{Kind: core.KindService, Name: service}}
	out.Transitions = append(out.Transitions, platform.Transition{At: ready.Since, From: nil, To: &ready}, platform.Transition{At: starting.Since, From: &ready, To: &starting})
	if ill := s.state[service]; ill.LastError != "" {
		first, _, _ := strings.Cut(ill.LastError, "\n")
		crash := core.Condition{
			Type: "Ready", Status: core.False, Reason: "CrashLoop", Message: first, Since: at(2 * time.Minute), Revision: 41,
			Hint: "Read its last lines: stoa logs " + service, Evidence: []string{"panic: ledger: open /data/ledger.db: permission denied", "exit status 1"},
		}
		out.Transitions = append(out.Transitions, platform.Transition{At: crash.Since, From: &starting, To: &crash})
		out.Conditions = []core.Condition{crash}
	} else {
		again := ready
		again.Since = at(2 * time.Minute)
		out.Transitions = append(out.Transitions, platform.Transition{At: again.Since, From: &starting, To: &again})
		out.Conditions = []core.Condition{again}
	}
	return out
}
