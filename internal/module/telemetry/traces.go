package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/telemetry"
	"stoa/internal/engine/hop"
)

// Bounds of what is kept.
const (
	maxSpans      = 20_000 // over all traces: some 8 MB
	maxTraceSpans = 500    // of one trace
	maxTraces     = 500    // that one answer lists
)

// traces keeps the latest spans, by trace. The oldest trace goes first.
type traces struct {
	mu    sync.Mutex
	byID  map[hop.TraceID]*oneTrace // guarded by mu
	order []hop.TraceID             // by first span, oldest first; guarded by mu
	spans int                       // over all; guarded by mu
}

type oneTrace struct {
	spans []telemetry.Span
	lost  int // spans beyond maxTraceSpans
}

func newTraces() *traces { return &traces{byID: map[hop.TraceID]*oneTrace{}} }

func (t *traces) add(r *hop.Record) {
	if r.Trace.IsZero() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.byID[r.Trace]
	if one == nil {
		one = &oneTrace{}
		t.byID[r.Trace] = one
		t.order = append(t.order, r.Trace)
	}
	if len(one.spans) >= maxTraceSpans {
		one.lost++
		return
	}
	one.spans = append(one.spans, span(r))
	for t.spans++; t.spans > maxSpans; {
		oldest := t.order[0]
		t.order = t.order[1:]
		t.spans -= len(t.byID[oldest].spans)
		delete(t.byID, oldest)
	}
}

func span(r *hop.Record) telemetry.Span {
	s := telemetry.Span{
		SpanID: r.Span.String(), Caller: r.Caller, Callee: r.Callee, Route: r.Route, Method: r.Method, Host: r.Host, Path: r.Path,
		Protocol: r.Protocol, TLS: r.TLS, Status: r.Status, Start: core.Time{Time: r.Start.UTC()}, DurationMicros: r.Duration.Microseconds(),
		HeadMicros: r.Head.Microseconds(), HeldMicros: r.Held.Microseconds(), Endpoint: r.Address, Instance: r.Instance,
		Attempts: r.Attempts, RequestBytes: r.In, ResponseBytes: r.Out, Reason: string(r.Reason), Fallback: r.Fallback,
		Fault: r.Injected, Error: r.Error,
	}
	if !r.Parent.IsZero() {
		s.ParentID = r.Parent.String()
	}
	if r.GRPC >= 0 {
		s.GRPCStatus = grpcName(r.GRPC)
	}
	if r.Failed() && s.Error == "" {
		s.Error = r.Class()
	}
	return s
}

// grpcNames are the codes of gRPC's statuscodes.md, by number.
var grpcNames = []string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL",
	"UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}

func grpcName(code int) string {
	if code < len(grpcNames) {
		return grpcNames[code]
	}
	return fmt.Sprint(code)
}

// find gives the spans of the trace whose id is, or begins with, id; "last" is the one that began last.
func (t *traces) find(id string) (string, []telemetry.Span, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []hop.TraceID
	if id == "last" && len(t.order) > 0 {
		found = append(found, t.order[len(t.order)-1])
	}
	for _, tid := range t.order {
		if len(id) >= 8 && strings.HasPrefix(tid.String(), strings.ToLower(id)) {
			found = append(found, tid)
		}
	}
	switch {
	case len(found) == 0:
		return "", nil, t.missing(id)
	case len(found) > 1:
		return "", nil, fault.New(fault.Conflict, "trace/"+id, "several traces begin with these digits").WithHint("Give more digits: %s", found[0])
	}
	return found[0].String(), slices.Clone(t.byID[found[0]].spans), nil
}

// missing says why there is no such trace. t.mu is held.
func (t *traces) missing(id string) error {
	switch {
	case len(t.order) == 0:
		return fault.New(fault.NotFound, "trace/"+id, "no request has passed since Stoa started").WithHint("Send one through the gateway: stoa status tells where it is.")
	case id != "last" && len(id) < 8:
		return fault.New(fault.NotFound, "trace/"+id, "want a trace id, its first 8 digits or more, or last").WithHint("To list them: stoa traces")
	}
	kept := "none of those that are kept, the latest"
	if len(t.order) > 1 {
		kept += fmt.Sprintf(" %d", len(t.order))
	}
	return fault.New(fault.NotFound, "trace/"+id, "%s, in memory, has that id", kept).WithHint("To list them: stoa traces")
}

// tree orders spans as a tree, children by their start, and sets depth and offset.
// A span whose parent is not among them is a root.
func tree(spans []telemetry.Span) []telemetry.Span {
	slices.SortStableFunc(spans, func(a, b telemetry.Span) int { return a.Start.Compare(b.Start.Time) })
	known := map[string]bool{}
	for _, s := range spans {
		known[s.SpanID] = true
	}
	children := map[string][]int{}
	var roots []int
	for i, s := range spans {
		if s.ParentID == "" || !known[s.ParentID] || s.ParentID == s.SpanID {
			roots = append(roots, i)
		} else {
			children[s.ParentID] = append(children[s.ParentID], i)
		}
	}
	out := make([]telemetry.Span, 0, len(spans))
	placed := make([]bool, len(spans))
	var walk func(i, depth int)
	walk = func(i, depth int) {
		if placed[i] {
			return
		}
		placed[i] = true
		s := spans[i]
		s.Depth, s.OffsetMicros = depth, s.Start.Sub(spans[0].Start.Time).Microseconds()
		out = append(out, s)
		for _, c := range children[s.SpanID] {
			walk(c, depth+1)
		}
	}
	for _, r := range roots {
		walk(r, 0)
	}
	for i := range spans { // a circle of parents, made by somebody outside
		walk(i, 0)
	}
	return out
}

// length gives the time from the first start to the last end.
func length(spans []telemetry.Span) (start core.Time, micros int64) {
	if len(spans) == 0 {
		return start, 0
	}
	start = spans[0].Start
	for _, s := range spans {
		if s.Start.Before(start.Time) {
			start = s.Start
		}
	}
	for _, s := range spans {
		micros = max(micros, s.Start.Sub(start.Time).Microseconds()+s.DurationMicros)
	}
	return start, micros
}

func (m *Module) trace(ctx context.Context, in telemetry.TraceIn) (telemetry.Trace, error) {
	id, spans, err := m.traces.find(in.ID)
	if err != nil {
		return telemetry.Trace{}, err
	}
	t := telemetry.Trace{ID: id, Spans: tree(spans)}
	t.Start, t.DurationMicros = length(t.Spans)
	for i := range t.Spans {
		describe(&t.Spans[i])
	}
	lines, _, _, err := m.logs.past(ctx, choice{trace: id, tail: 200})
	if err != nil {
		return t, err
	}
	t.Lines = lines
	return t, nil
}

func (m *Module) list(_ context.Context, in telemetry.TracesIn) (telemetry.TracesOut, error) {
	out := telemetry.TracesOut{Traces: []telemetry.TraceHead{}}
	limit := min(cmp.Or(in.Limit, 20), maxTraces)
	m.traces.mu.Lock()
	defer m.traces.mu.Unlock()
	out.Kept = len(m.traces.order)
	for i := len(m.traces.order) - 1; i >= 0 && len(out.Traces) < limit; i-- {
		id := m.traces.order[i]
		if h := head(id.String(), m.traces.byID[id].spans); wanted(h, in) {
			out.Traces = append(out.Traces, h)
		}
	}
	return out, nil
}

func wanted(h telemetry.TraceHead, in telemetry.TracesIn) bool {
	return (in.Service == "" || slices.Contains(h.Services, in.Service)) && (!in.Errors || h.Errors > 0) &&
		(in.Slower == 0 || h.DurationMicros >= in.Slower.D().Microseconds())
}

func head(id string, spans []telemetry.Span) telemetry.TraceHead {
	h := telemetry.TraceHead{ID: id, Hops: len(spans)}
	h.Start, h.DurationMicros = length(spans)
	first := spans[0]
	for _, s := range spans {
		if s.Start.Before(first.Start.Time) {
			first = s
		}
		if s.Error != "" {
			h.Errors++
			if s.Fallback != "" {
				h.Saved++
			}
		}
		h.Services = append(h.Services, s.Callee)
	}
	slices.Sort(h.Services)
	h.Services = slices.DeleteFunc(slices.Compact(h.Services), func(s string) bool { return s == "" })
	h.Name, h.Status = first.Method+" "+first.Path, first.Status
	if first.Protocol == "tcp" {
		h.Name = "tcp to " + first.Callee
	}
	return h
}

func micros(us int64) string { return (time.Duration(us) * time.Microsecond).String() }

// barWidth is how many characters the whole of a trace takes.
const barWidth = 30

func printTrace(w io.Writer, t telemetry.Trace) {
	fmt.Fprintf(w, "trace %s  %s  %s\n\n", t.ID, t.Start.Local().Format(time.DateTime), micros(t.DurationMicros))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range t.Spans {
		from := s.Caller
		if from == "" {
			from = gatewayName
		}
		status := fmt.Sprint(s.Status)
		if s.GRPCStatus != "" {
			status = s.GRPCStatus
		}
		if s.Reason != "" {
			status += " (" + s.Reason + ")"
		}
		if s.Fallback != "" {
			status += " (fallback " + s.Fallback + ")"
		}
		fmt.Fprintf(tw, "%s%s -> %s\t%s %s\t%s\t%s\t%s\n", strings.Repeat("  ", s.Depth), from, s.Callee, clean(s.Method), clean(s.Path), clean(status), micros(s.DurationMicros), bar(s, t.DurationMicros))
	}
	tw.Flush()
	if len(t.Lines) > 0 {
		fmt.Fprintln(w)
		for _, l := range t.Lines {
			if l.Stream != "access" {
				printLine(w, l)
			}
		}
	}
}

// bar draws when a span was, within the trace.
func bar(s telemetry.Span, whole int64) string {
	if whole <= 0 {
		return ""
	}
	at := int(min(int64(barWidth-1), max(0, s.OffsetMicros)*barWidth/whole))
	n := int(max(1, min(int64(barWidth-at), s.DurationMicros*barWidth/whole)))
	return strings.Repeat("·", at) + strings.Repeat("━", n) + strings.Repeat("·", barWidth-at-n)
}

func printTraces(w io.Writer, out telemetry.TracesOut) {
	if len(out.Traces) == 0 && out.Kept > 0 {
		fmt.Fprintf(w, "None of the last %d traces is such a one. To see them: stoa traces\n", out.Kept)
		return
	}
	if len(out.Traces) == 0 {
		fmt.Fprintln(w, "No trace. A request through the gateway makes one.")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "TRACE\tBEGAN\tREQUEST\tSTATUS\tTOOK\tHOPS\tERRORS\tSERVICES")
	for _, h := range out.Traces {
		status := fmt.Sprint(h.Status)
		if h.Status == 0 {
			status = "-"
		}
		errors := fmt.Sprint(h.Errors)
		if h.Saved > 0 {
			errors = fmt.Sprintf("%d (%d saved)", h.Errors-h.Saved, h.Saved)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", h.ID, h.Start.Local().Format(time.TimeOnly), clean(h.Name), status, micros(h.DurationMicros), h.Hops, errors, strings.Join(h.Services, " "))
	}
	tw.Flush()
}
