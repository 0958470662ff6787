package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/telemetry"
	"stoa/internal/engine/hop"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestParseLine(t *testing.T) {
	for _, c := range []struct {
		in, level, text, trace string
		fields                 int
	}{
		{"plain text", "", "plain text", "", 0},
		{`{"level":"WARNING","msg":"low","traceId":"abc","time":"x","sku":"bowl"}`, "warn", "low", "abc", 1},
		{`{"severity":"fatal","message":"gone"}`, "error", "gone", "", 0},
		{`{"level":30,"msg":"pino"}`, "", "pino", "", 1},
		{`{"not json}`, "", `{"not json}`, "", 0},
		{"bad \xff utf8", "", "bad \uFFFD utf8", "", 0},
	} {
		l := parseLine(noon, "orders", "i1", "stdout", []byte(c.in))
		if l.Level != c.level || l.Text != c.text || l.TraceID != c.trace || len(l.Fields) != c.fields || l.Service != "orders" {
			t.Errorf("%q: %+v", c.in, l)
		}
	}
}

// What a program writes cannot steer the terminal that shows it.
func TestPrintedLinesHoldNoControlBytes(t *testing.T) {
	var b strings.Builder
	printLine(&b, parseLine(noon, "a", "", "stdout", []byte("red \x1b[31m bell \x07 csi \u009b31m")))
	printLine(&b, parseLine(noon, "a", "", "stdout", []byte(`{"msg":"\u001b[2J","traceId":"\u001b[2J","\u001b[31m":"x","y":"\u009b31m\u007f"}`)))
	if s := strings.ReplaceAll(b.String(), "\n", ""); strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
		t.Errorf("%q", s)
	}
}

// running gives a module whose lines go to a folder, until the test ends.
func running(t *testing.T) (*Module, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "logs")
	m := New(Options{Dir: dir})
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- m.run(ctx, func() { close(ready) }) }()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return m, dir
}

// Who follows gets every line once and in order, those before and those after it asked,
// however many are written meanwhile.
func TestFollowHasNoGapAndNoDouble(t *testing.T) {
	m, _ := running(t)
	const before, after = 500, 1500
	write := func(from, n int) {
		for i := from; i < from+n; i++ {
			m.Line("a", "", "stdout", fmt.Appendf(nil, "%d", i))
		}
	}
	write(0, before)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { write(before, after) })
	seq, err := m.followLogs(ctx, telemetry.LogsIn{Follow: true, Tail: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	for l, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		if l.Text != fmt.Sprint(next) {
			t.Fatalf("line %q where %d was due", l.Text, next)
		}
		if next++; next == before+after {
			break
		}
	}
}

// Lines outlive the process, the tail is the last of them, and filters hold.
func TestLinesOutliveTheProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	for round := range 3 {
		m := New(Options{Dir: dir})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		ready := make(chan struct{})
		go func() { done <- m.run(ctx, func() { close(ready) }) }()
		<-ready
		m.Line("a", "", "stdout", fmt.Appendf(nil, `{"level":"info","msg":"a%d"}`, round))
		m.Line("b", "", "stdout", fmt.Appendf(nil, `{"level":"error","msg":"b%d","traceId":"t%d"}`, round, round))
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	m := New(Options{Dir: dir})
	for _, c := range []struct {
		choice choice
		want   string
	}{
		{choice{tail: 100}, "a0 b0 a1 b1 a2 b2"},
		{choice{tail: 2}, "a2 b2"},
		{choice{tail: 100, service: "b"}, "b0 b1 b2"},
		{choice{tail: 100, level: "warn"}, "b0 b1 b2"},
		{choice{tail: 100, trace: "t1"}, "b1"},
		{choice{tail: 100, since: time.Now().Add(time.Hour)}, ""},
	} {
		lines, _, _, err := m.logs.past(t.Context(), c.choice)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range lines {
			got = append(got, l.Text)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: got %v, want %q", c.choice, got, c.want)
		}
	}
}

// The disk holds a bounded number of segments; a torn line is passed over.
func TestSegmentsAreBounded(t *testing.T) {
	dir := t.TempDir()
	now := noon
	l := newLogs(dir, func() time.Time { now = now.Add(time.Second); return now })
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxSegments {
		l.add(telemetry.Line{Text: fmt.Sprint(i), At: core.At(now)})
		l.flush()
		l.fileMu.Lock()
		err := l.roll()
		l.fileMu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	all, err := l.segments()
	if err != nil || len(all) != maxSegments {
		t.Fatalf("%d segments, %v; want %d", len(all), err, maxSegments)
	}
	if err := os.WriteFile(all[0], []byte(`{"text":"whole"}`+"\n"+`{"text":"to`), 0o600); err != nil {
		t.Fatal(err)
	}
	lines, _, _, err := l.past(t.Context(), choice{tail: 100})
	if err != nil || len(lines) == 0 || lines[0].Text != "whole" {
		t.Errorf("%v, %v", lines, err)
	}
}

// A reading is of one moment: what is written, flushed and rolled away while it is read
// changes nothing of it, and waits for nobody.
func TestAReadingHoldsNobodyUp(t *testing.T) {
	now := noon
	l := newLogs(t.TempDir(), func() time.Time { now = now.Add(time.Second); return now })
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	add := func(text string) { l.add(telemetry.Line{Service: "a", Text: text, At: core.At(now)}) }
	add("on disk")
	l.flush()
	add("in memory")
	r, err := l.begin()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	for i := range 2 * maxSegments { // the segment that is being read is removed
		add(fmt.Sprint("later ", i))
		l.flush()
		l.fileMu.Lock()
		err := l.roll()
		l.fileMu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	lines, names, err := r.lines(t.Context(), choice{tail: 100})
	if err != nil || len(lines) != 2 || lines[0].Text != "on disk" || lines[1].Text != "in memory" || !names["a"] || r.next != 2 {
		t.Errorf("got %v of %v before line %d, %v; want the two lines of before", lines, names, r.next, err)
	}
}

// A name that nobody has is an error that offers the nearest; one that is declared, or has
// written a line that is kept, is known.
func TestLogsOfNobody(t *testing.T) {
	docs := map[core.Ref]core.Document{}
	for _, d := range []core.Document{
		{Kind: core.KindService, Name: "orders"},
		{Kind: core.KindJob, Name: "migrate", Sections: map[string]json.RawMessage{"": json.RawMessage(`{"of":"orders"}`)}},
	} {
		docs[d.Ref()] = d
	}
	m := New(Options{State: func() core.State { return core.State{Docs: docs} }})
	m.Line("deleted", "1", "stdout", []byte("last words"))
	for name, want := range map[string]string{
		"": "", "orders": "", "deleted": "", "gateway": "", "stoa": "",
		"ordres": "Did you mean orders?", "deletd": "Did you mean deleted?", "x": "There are deleted, orders.",
		"migrate": "See stoa logs orders",
	} {
		_, err := m.followLogs(t.Context(), telemetry.LogsIn{Service: name})
		if (err != nil) != (want != "") || err != nil && (!fault.Is(err, fault.NotFound) || fault.HintOf(err) != want) {
			t.Errorf("logs %s: %v, hint %q; want %q", name, err, fault.HintOf(err), want)
		}
	}
}

// top leaves out between whom nothing passes now, and says so.
func TestTopLeavesIdleEdgesOut(t *testing.T) {
	busy, idle := telemetry.EdgeRate{From: "gateway", To: "web", Rate: 1}, telemetry.EdgeRate{From: "web", To: "stock", Total: 7}
	for _, c := range []struct {
		edges      []telemetry.EdgeRate
		all        bool
		want, none string
	}{
		{[]telemetry.EdgeRate{busy, idle}, false, "Idle now: 1 more; stoa top -a", "stock"},
		{[]telemetry.EdgeRate{busy, idle}, true, "stock", "Idle"},
		{[]telemetry.EdgeRate{idle}, false, "No request in this time", "FROM"},
		{nil, false, "No request yet.", "FROM"},
	} {
		var b strings.Builder
		printTop(&b, telemetry.TopOut{Edges: c.edges, All: c.all})
		if !strings.Contains(b.String(), c.want) || strings.Contains(b.String(), c.none) {
			t.Errorf("%d edges, all %v:\n%s\nwant %q and no %q", len(c.edges), c.all, b.String(), c.want, c.none)
		}
	}
}

func record(trace byte, span, parent byte, caller, callee string, at time.Duration, took time.Duration, status int) *hop.Record {
	r := &hop.Record{Start: noon.Add(at), Duration: took, Caller: caller, Callee: callee, Method: "GET", Path: "/" + callee, Status: status, GRPC: -1, Protocol: "HTTP/1.1"}
	r.Trace[0], r.Span[0], r.Parent[0] = trace, span, parent
	return r
}

// Hops become a tree by their parents, children by their start; what has no parent, or
// parents in a circle, is shown all the same.
func TestTraceIsATree(t *testing.T) {
	m := New(Options{})
	for _, r := range []*hop.Record{
		record(1, 3, 1, "orders", "payments", 30*time.Millisecond, 20*time.Millisecond, 500),
		record(1, 2, 1, "orders", "inventory", 10*time.Millisecond, 10*time.Millisecond, 200),
		record(1, 1, 0, "", "orders", 0, 60*time.Millisecond, 502),
		record(1, 8, 9, "x", "circle", 50*time.Millisecond, 1, 200),
		record(1, 9, 8, "y", "circle", 51*time.Millisecond, 1, 200),
	} {
		m.keep(r)
	}
	tr, err := m.trace(t.Context(), telemetry.TraceIn{ID: "last"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range tr.Spans {
		got = append(got, fmt.Sprintf("%d:%s", s.Depth, s.Callee))
	}
	if want := []string{"0:orders", "1:inventory", "1:payments", "0:circle", "1:circle"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if tr.DurationMicros != 60_000 || tr.Spans[2].OffsetMicros != 30_000 {
		t.Errorf("%d µs, offset %d", tr.DurationMicros, tr.Spans[2].OffsetMicros)
	}
	list, err := m.list(t.Context(), telemetry.TracesIn{Errors: true, Service: "payments"})
	if err != nil || len(list.Traces) != 1 || list.Traces[0].Errors != 2 || list.Traces[0].Name != "GET /orders" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := m.trace(t.Context(), telemetry.TraceIn{ID: "ffffffff"}); !fault.Is(err, fault.NotFound) || fault.HintOf(err) == "" {
		t.Errorf("an unknown trace gave %v", err)
	}
}

// A trace of bytes says so, and a failure for which a fallback stood in is told as saved.
func TestListedTraces(t *testing.T) {
	m := New(Options{})
	bytes := record(1, 1, 0, "web", "queue", 0, time.Millisecond, 0)
	bytes.Protocol, bytes.Method, bytes.Path = "tcp", "", ""
	saved := record(2, 2, 0, "", "stock", time.Second, time.Millisecond, 200)
	saved.Fallback, saved.Error = "static", "503"
	m.keep(bytes)
	m.keep(saved)
	out, err := m.list(t.Context(), telemetry.TracesIn{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	printTraces(&b, out)
	for _, want := range []string{`tcp to queue +- +1ms +1 +0 +queue`, `GET /stock +200 +1ms +1 +0 \(1 saved\) +stock`} {
		if !regexp.MustCompile(want).MatchString(b.String()) {
			t.Errorf("want %s:\n%s", want, b.String())
		}
	}
}

// Memory is bounded: old traces go, a trace of too many hops is cut.
func TestTracesAreBounded(t *testing.T) {
	tr := newTraces()
	for i := range maxSpans + 1000 {
		r := record(0, 1, 0, "", "a", 0, 1, 200)
		r.Trace[1], r.Trace[2], r.Trace[3], r.Trace[0] = byte(i), byte(i>>8), byte(i>>16), 1
		tr.add(r)
	}
	if tr.spans > maxSpans || len(tr.byID) != len(tr.order) || len(tr.byID) > maxSpans {
		t.Errorf("%d spans of %d traces in an order of %d", tr.spans, len(tr.byID), len(tr.order))
	}
	for range 2 * maxTraceSpans {
		tr.add(record(2, 1, 0, "", "a", 0, 1, 200))
	}
	if one := tr.byID[hop.TraceID{2}]; len(one.spans) != maxTraceSpans || one.lost != maxTraceSpans {
		t.Errorf("one trace keeps %d spans, lost %d", len(one.spans), one.lost)
	}
}

// Lines wait for the folder to be opened, go on while no new segment can be made, and are
// counted when they cannot be written.
func TestLinesSurviveTroubleWithTheDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	l := newLogs(dir, time.Now)
	lost := 0
	l.lost = func(n int) { lost += n }
	l.add(telemetry.Line{Text: "early"})
	l.flush()
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	l.flush()
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	l.size = segmentBytes // it is full, and there is no folder for another
	l.add(telemetry.Line{Text: "one"})
	l.flush()
	l.add(telemetry.Line{Text: "two"})
	l.flush()
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	l.add(telemetry.Line{Text: "three"})
	l.flush() // and begins a segment
	l.add(telemetry.Line{Text: "four"})
	lines, _, _, err := l.past(t.Context(), choice{tail: 100})
	var got []string
	for _, line := range lines {
		got = append(got, line.Text)
	}
	if want := "early one two three four"; err != nil || strings.Join(got, " ") != want || lost != 0 {
		t.Errorf("got %q, %v, %d lost; want %q", got, err, lost, want)
	}
	if all, _ := l.segments(); len(all) != 2 {
		t.Errorf("segments %v, want 2", all)
	}
	l.flush()
	_ = l.file.Close() // from here on nothing can be written
	l.add(telemetry.Line{Text: "five"})
	l.flush()
	if lost != 1 {
		t.Errorf("%d counted as lost, want 1", lost)
	}
}

// A flood of long lines waits in bounded memory.
func TestPendingIsBounded(t *testing.T) {
	l := newLogs(t.TempDir(), time.Now)
	text, n := strings.Repeat("x", maxText), 0
	for l.add(telemetry.Line{Text: text}) {
		n++
	}
	if n != maxPendingBytes/maxText {
		t.Errorf("%d lines of %d bytes wait", n, maxText)
	}
}
