package resources_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/op"
	api "stoa/api/platform"
	"stoa/internal/engine/pebblestore"
	"stoa/internal/kernel/board"
	"stoa/internal/kernel/host"
	"stoa/internal/kernel/resources"
	"stoa/internal/kernel/store"
)

// use is the element of a made-up module's section.
type use struct {
	Service string        `json:"service"`
	Timeout core.Duration `json:"timeout,omitempty"`
}

var uses = core.Section[[]use]{Kind: core.KindService, Name: "uses"}

type calls struct{}

func (calls) Name() string { return "calls" }

func (calls) Declare(c *host.Catalog) {
	c.Kind(core.KindService, "a service", true)
	c.Kind(core.KindJob, "a job", true)
	host.Owns(c, uses, func(k *host.Checker, us []use) {
		for i, u := range us {
			k.Exists(fmt.Sprintf("[%d].service", i), core.KindService, u.Service)
		}
	})
	c.Effect("calls", func(before, after core.State) []host.PlanLine {
		var lines []host.PlanLine
		for _, d := range after.Of(core.KindService) {
			old, ok := before.Docs[d.Ref()]
			if ok && string(old.Canonical()) != string(d.Canonical()) {
				lines = append(lines, host.PlanLine{Ref: d.Ref(), Effect: "none", Text: "cart and web call it; no restart"})
			}
		}
		return lines
	})
}

// bench is a platform of the kernel and one made-up module.
type bench struct {
	t     *testing.T
	cat   *host.Catalog
	store *store.Store
	board *board.Board
	gone  map[string]bool // artefacts that are not held
}

func newBench(t *testing.T) *bench {
	t.Helper()
	m := pebblestore.Memory()
	t.Cleanup(func() { m.Close() })
	l, err := m.Log(context.Background(), "resources")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := func() time.Time { return now }
	s, err := store.Open(context.Background(), l, store.Options{Now: clock, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, store: s, board: board.New(clock), gone: map[string]bool{}}
	b.cat = host.Build(calls{}, resources.New(resources.Ports{
		Store: s, Board: b.board,
		Check: func(cat *host.Catalog, st core.State) []host.Finding {
			var found []host.Finding
			for _, ref := range st.Refs() {
				d := st.Docs[ref]
				for _, sec := range cat.SectionsOf(ref.Kind) {
					sec.Check(host.NewChecker(d, st, sec.Name, &found), d.Sections[sec.Name])
				}
			}
			return found
		},
		Strict: func(cat *host.Catalog, d core.Document) []host.Finding {
			if _, ok := cat.KindOf(d.Kind); !ok {
				return []host.Finding{{Ref: d.Ref(), Path: "kind", Msg: "unknown kind"}}
			}
			return nil
		},
		HasArtefact: func(digest string) bool { return !b.gone[digest] },
	}))
	return b
}

func as(name string) context.Context {
	return op.WithCaller(context.Background(), op.Caller{Name: name, UID: 1000, Via: "cli"})
}

// try calls an operation through the table, request and answer over JSON as doors do,
// and gives the answer with its text view.
func try[In, Out any](b *bench, who string, o op.Op[In, Out], in In) (Out, string, error) {
	b.t.Helper()
	row, ok := b.cat.Operation(o.Name)
	if !ok {
		b.t.Fatalf("there is no operation %s", o.Name)
	}
	raw, err := json.Marshal(in)
	if err != nil {
		b.t.Fatal(err)
	}
	req := new(In)
	if err := json.Unmarshal(raw, req); err != nil {
		b.t.Fatal(err)
	}
	var out Out
	v, err := row.Call(as(who), req)
	if err != nil {
		return out, "", err
	}
	if raw, err = json.Marshal(v); err != nil {
		b.t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		b.t.Fatal(err)
	}
	var text strings.Builder
	row.Print(&text, out)
	return out, text.String(), nil
}

func do[In, Out any](b *bench, o op.Op[In, Out], in In) (Out, string) {
	b.t.Helper()
	out, text, err := try(b, "anna", o, in)
	if err != nil {
		b.t.Fatalf("%s: %v", o.Name, err)
	}
	return out, text
}

func svc(name string, us ...use) core.Document {
	d := core.Document{Kind: core.KindService, Name: name, File: name + "/stoa.yaml"}
	if us != nil {
		d, _ = uses.With(d, us)
	}
	return d
}

func (b *bench) apply(source string, docs ...core.Document) api.Applied {
	b.t.Helper()
	out, _ := do(b, api.ApplyOp, api.ApplyIn{Source: source, Documents: docs})
	return out
}

func ref(name string) core.Ref { return core.Ref{Kind: core.KindService, Name: name} }

const s = time.Second

// The way of an apply, as people see it.
func TestPlanAndApply(t *testing.T) {
	b := newBench(t)
	docs := []core.Document{svc("orders", use{"payments", core.Duration(2 * s)}), svc("payments")}
	plan, text := do(b, api.PlanOp, api.PlanIn{Source: "/shop", Documents: docs})
	if want := "service/orders    created\nservice/payments  created\nTo do on revision 0: 2 to create, 0 to change, 0 to delete\n"; text != want {
		t.Fatalf("plan:\n%s\nwant:\n%s", text, want)
	}
	out, _ := do(b, api.ApplyOp, api.ApplyIn{Source: "/shop", Documents: docs, Reads: plan.Reads})
	if out.Revision != 1 || !out.Done {
		t.Fatalf("applied: %+v", out)
	}
	docs[0] = svc("orders", use{"payments", core.Duration(5 * s)})
	docs[0].Artefacts = map[string]string{"program": "sha256:9c01" + strings.Repeat("0", 60)}
	out, text = do(b, api.ApplyOp, api.ApplyIn{Source: "/shop", Documents: docs})
	want := "" +
		"service/orders    changed  program none -> 9c01..  cart and web call it; no restart\n" +
		"                           uses[0].timeout: 2s -> 5s\n" +
		"service/payments  same\n" +
		"Applied at revision 2. To see it come up: stoa watch service/orders\n"
	if text != want {
		t.Fatalf("apply:\n%s\nwant:\n%s", text, want)
	}
	out, text = do(b, api.ApplyOp, api.ApplyIn{Source: "/shop", Documents: docs})
	if out.Done || out.Revision != 2 || !strings.HasSuffix(text, "Nothing to do: revision 2 is as declared\n") {
		t.Fatalf("applied twice: %+v\n%s", out, text)
	}
	plan, text = do(b, api.PlanOp, api.PlanIn{Source: "/shop", Documents: []core.Document{svc("orders", use{Service: "paymets"}), svc("payments")}})
	if len(plan.Problems) != 1 || !strings.Contains(text, `service/orders uses[0].service: there is no Service "paymets"; did you mean payments?`) {
		t.Fatalf("plan of a broken one:\n%s", text)
	}
	_, _, err := try(b, "anna", api.ApplyOp, api.ApplyIn{Source: "/shop", Documents: []core.Document{{Kind: "Servic", Name: "x"}}})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "servic/x kind") {
		t.Fatalf("apply of an unknown kind: %v", err)
	}
	if _, _, err := try(b, "anna", api.ApplyOp, api.ApplyIn{Documents: docs}); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
		t.Fatalf("apply of nobody: %v", err)
	}
}

// An apply is refused if what was agreed to rests on what has changed, and only then.
func TestAgreedPlan(t *testing.T) {
	b := newBench(t)
	b.apply("/shop", svc("a"), svc("b"))
	docs := []core.Document{svc("a", use{Service: "b"}), svc("b")}
	plan, _ := do(b, api.PlanOp, api.PlanIn{Source: "/shop", Documents: docs})
	b.apply("/other", svc("c"))
	if _, _, err := try(b, "anna", api.ApplyOp, api.ApplyIn{Source: "/shop", Documents: docs, Reads: plan.Reads}); err != nil {
		t.Fatalf("another source applied something else: %v", err)
	}

	plan, _ = do(b, api.PlanOp, api.PlanIn{Source: "/shop", Documents: docs[:1]}) // deletes b
	_, _, err := try(b, "bert", api.ApplyOp, api.ApplyIn{Source: "/shop", Documents: []core.Document{docs[0], svc("b", use{Service: "a"}), svc("new")}})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = try(b, "anna", api.ApplyOp, api.ApplyIn{Source: "/shop", Documents: docs[:1], Reads: plan.Reads})
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "service/b was changed at revision 4 by bert (cli)") ||
		!strings.Contains(err.Error(), "service/new was changed at revision 4") || strings.Contains(err.Error(), "service/a ") {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(fault.HintOf(err), "stoa history") {
		t.Fatalf("hint %q", fault.HintOf(err))
	}
}

// A document of another source is named with its owner, and changes hands only if asked.
func TestTakeOver(t *testing.T) {
	b := newBench(t)
	b.apply("/theirs", svc("a", use{"b", core.Duration(s)}), svc("b"))
	_, text := do(b, api.PlanOp, api.PlanIn{Source: "/ours", Documents: []core.Document{svc("a")}})
	if !strings.Contains(text, "service/a belongs to /theirs\nIt cannot be applied, unless with --take-over\n") {
		t.Fatalf("plan:\n%s", text)
	}
	if _, _, err := try(b, "anna", api.ApplyOp, api.ApplyIn{Source: "/ours", Documents: []core.Document{svc("a")}}); !fault.Is(err, fault.Conflict) {
		t.Fatalf("got %v", err)
	}
	do(b, api.ApplyOp, api.ApplyIn{Source: "/ours", Documents: []core.Document{svc("a")}, TakeOver: true})
	b.apply("/theirs") // deletes nothing
	if got := b.store.State().Docs[ref("a")].Source; got != "/ours" {
		t.Fatalf("it belongs to %q", got)
	}
}

// get shows one document as a blueprint would, several as a table, and earlier ones.
func TestGet(t *testing.T) {
	b := newBench(t)
	d := svc("orders", use{"payments", core.Duration(2 * s)})
	d.Context = "sales"
	d.Artefacts = map[string]string{"program": "sha256:9c01"}
	d.Sections["run"] = json.RawMessage(`{"command":["node","index.js","-v"],"dir":"./srv"}`)
	d.Sections["env"] = json.RawMessage(`{"A":"yes","B":"0777","C":"${secret:stripe}","D":"two\nlines","E":"http://a:1","F":"` + strings.Repeat("long ", 30) + `"}`)
	b.apply("/shop", d, svc("payments"), core.Document{Kind: core.KindJob, Name: "m", Sections: map[string]json.RawMessage{"": json.RawMessage(`{"of":"orders"}`)}})
	_, text := do(b, api.GetOp, api.GetIn{What: "service/orders"})
	want := `kind: Service
name: orders
context: sales
env:
  A: "yes"
  B: "0777"
  C: "${secret:stripe}"
  D: "two\nlines"
  E: "http://a:1"
  F: "` + strings.Repeat("long ", 30) + `"
run:
  command: [node, index.js, "-v"]
  dir: ./srv
uses:
  - {service: payments, timeout: 2s}
# from /shop: orders/stoa.yaml
# program sha256:9c01
`
	if text != want {
		t.Fatalf("got:\n%s\nwant:\n%s", text, want)
	}
	if _, text := do(b, api.GetOp, api.GetIn{What: "job/m"}); !strings.HasPrefix(text, "kind: Job\nname: m\nof: orders\n") {
		t.Fatalf("a body:\n%s", text)
	}
	b.board.Set(ref("payments"), core.Condition{Type: "Ready", Status: core.False, Reason: "CrashLoop"})
	out, text := do(b, api.GetOp, api.GetIn{What: "services"})
	want = `NAME              OBSERVED   CHANGED AT  BY          SOURCE
service/orders    -          1           anna (cli)  /shop
service/payments  CrashLoop  1           anna (cli)  /shop
`
	if text != want || len(out.Documents) != 2 {
		t.Fatalf("got:\n%s\nwant:\n%s", text, want)
	}
	if out, _ := do(b, api.GetOp, api.GetIn{}); len(out.Documents) != 3 {
		t.Fatalf("all: %+v", out)
	}
	b.apply("/shop", svc("orders"))
	if out, text := do(b, api.GetOp, api.GetIn{What: "service/orders", Revision: 1}); out.Revision != 1 || !strings.Contains(text, "node") || out.Documents[0].Last.Revision != 1 {
		t.Fatalf("at revision 1: %+v", out)
	}
	for in, hint := range map[api.GetIn]string{
		{What: "service/oders"}:                 "Did you mean service/orders?",
		{What: "servce/orders"}:                 "Did you mean service?",
		{What: "topic/x"}:                       "Valid: service, job",
		{What: "job/nothing"}:                   "Declare it in a blueprint, then: stoa apply DIR.",
		{What: "service/orders", Revision: 77}:  "List them: stoa history.",
		{What: "service/payments", Revision: 0}: "There is service/orders.",
	} {
		if _, _, err := try(b, "anna", api.GetOp, in); !fault.Is(err, fault.NotFound) || fault.HintOf(err) != hint {
			t.Errorf("get %+v: %v, hint %q, want %q", in, err, fault.HintOf(err), hint)
		}
	}
}

// describe and why tell what is observed, why, and who applied it.
func TestDescribeAndWhy(t *testing.T) {
	b := newBench(t)
	do(b, api.ApplyOp, api.ApplyIn{Source: "/shop", Documents: []core.Document{svc("orders")}, Message: "first light"})
	b.board.Set(ref("orders"), core.Condition{Type: "Ready", Status: core.Pending, Reason: "Starting"})
	b.board.Set(ref("orders"), core.Condition{Type: "Ready", Status: core.False, Reason: "CrashLoop", Message: "it ended 5 times in 2 minutes",
		Hint: "Look at its output: stoa logs orders.", Evidence: []string{"panic: \x1b[31mno such table", "exit status 2"}})
	for _, text := range []string{
		func() string { _, s := do(b, api.DescribeOp, api.DescribeIn{What: "service/orders"}); return s }(),
		func() string { _, s := do(b, api.WhyOp, api.WhyIn{What: "orders"}); return s }(),
	} {
		for _, want := range []string{
			"by anna (cli): first light", "Ready: Starting -> CrashLoop: it ended 5 times in 2 minutes",
			"    | panic: [31mno such table\n    | exit status 2\n", "Look at its output: stoa logs orders.\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("does not say %q:\n%s", want, text)
			}
		}
	}
	if _, _, err := try(b, "anna", api.WhyOp, api.WhyIn{What: "ordres"}); !fault.Is(err, fault.NotFound) || fault.HintOf(err) != "Did you mean service/orders?" {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
	if _, _, err := try(b, "anna", api.DescribeOp, api.DescribeIn{What: "service"}); !fault.Is(err, fault.Invalid) || fault.HintOf(err) != "List them: stoa get service." {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
}

// delete refuses what others refer to, and names them.
func TestDelete(t *testing.T) {
	b := newBench(t)
	b.apply("/shop", svc("a", use{Service: "b"}), svc("b"))
	if _, _, err := try(b, "anna", api.DeleteOp, api.DeleteIn{What: []string{"service/b"}}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "service/a uses[0].service") {
		t.Fatalf("got %v", err)
	}
	if _, _, err := try(b, "anna", api.DeleteOp, api.DeleteIn{}); !fault.Is(err, fault.Invalid) {
		t.Fatalf("got %v", err)
	}
	if _, _, err := try(b, "anna", api.DeleteOp, api.DeleteIn{What: []string{"service/x"}}); !fault.Is(err, fault.NotFound) {
		t.Fatalf("got %v", err)
	}
	out, text := do(b, api.DeleteOp, api.DeleteIn{What: []string{"service/b", "service/a"}})
	if out.Revision != 2 || text != "service/a  deleted\nservice/b  deleted\nApplied at revision 2. To see what is left: stoa status\n" {
		t.Fatalf("got %+v\n%s", out, text)
	}
}

// A rollback brings back documents and artefacts; without an argument it finds the last
// good revision, however often it is asked, and history says what was left behind.
func TestRollback(t *testing.T) {
	b := newBench(t)
	version := func(n int) core.Document {
		d := svc("a")
		d.Artefacts = map[string]string{"program": fmt.Sprintf("sha256:%d", n)}
		return d
	}
	program := func() string { return b.store.State().Docs[ref("a")].Artefacts["program"] }
	if _, _, err := try(b, "anna", api.RollbackOp, api.RollbackIn{}); !fault.Is(err, fault.NotFound) {
		t.Fatalf("of nothing: %v", err)
	}
	for n := 1; n <= 4; n++ {
		b.apply("/shop", version(n))
	}
	b.apply("/other", svc("z")) // revision 5
	out, text := do(b, api.RollbackOp, api.RollbackIn{To: 3, Source: "/shop", OnlyPlan: true})
	if out.Done || program() != "sha256:4" || !strings.Contains(text, "program 4 -> 3") {
		t.Fatalf("only a plan: %+v\n%s", out, text)
	}
	// The source's last apply is 4, so 3 comes back, and another source's stays.
	out, text = do(b, api.RollbackOp, api.RollbackIn{Source: "/shop"})
	if out.Revision != 6 || program() != "sha256:3" || !strings.Contains(text, "Revision 3 is back at revision 6.") {
		t.Fatalf("%s, %+v\n%s", program(), out, text)
	}
	do(b, api.RollbackOp, api.RollbackIn{Source: "/shop"})
	if program() != "sha256:2" {
		t.Fatalf("a second rollback leads to %s, not to the one left behind", program())
	}
	if _, ok := b.store.State().Docs[ref("z")]; !ok {
		t.Fatal("another source's document was taken along")
	}
	out, _ = do(b, api.RollbackOp, api.RollbackIn{To: 4, Message: "it was not to blame"})
	if _, ok := b.store.State().Docs[ref("z")]; ok || program() != "sha256:4" || out.Plan.Restores != 4 {
		t.Fatalf("all of revision 4: %+v", out)
	}
	h, text := do(b, api.HistoryOp, api.HistoryIn{})
	if len(h.Revisions) != 8 || h.Revisions[0].Message != "it was not to blame" || h.Revisions[0].Restores != 4 {
		t.Fatalf("history: %+v", h)
	}
	left := map[uint64]uint64{}
	for _, r := range h.Revisions {
		left[r.Revision] = r.Left
	}
	if want := map[uint64]uint64{1: 0, 2: 0, 3: 7, 4: 0, 5: 8, 6: 7, 7: 8, 8: 0}; !reflect.DeepEqual(left, want) {
		t.Fatalf("left behind: %v, want %v\n%s", left, want, text)
	}
	if h, text := do(b, api.HistoryOp, api.HistoryIn{Limit: 2, Source: "/shop"}); len(h.Revisions) != 2 || !h.More || !strings.Contains(text, "stoa history -n 20") {
		t.Fatalf("two of a source: %+v\n%s", h, text)
	}
	b.gone["sha256:1"] = true
	if _, _, err := try(b, "anna", api.RollbackOp, api.RollbackIn{To: 1}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "sha256:1") {
		t.Fatalf("to what is not held: %v", err)
	}
	if _, _, err := try(b, "anna", api.RollbackOp, api.RollbackIn{To: 1, Source: "/nobody"}); !fault.Is(err, fault.NotFound) {
		t.Fatalf("of nobody: %v", err)
	}
}

// watch tells what is observed, then what changes, of what was asked for.
func TestWatch(t *testing.T) {
	b := newBench(t)
	b.apply("/shop", svc("a"), svc("b"))
	b.board.Set(ref("a"), core.Condition{Type: "Ready", Status: core.Pending, Reason: "Starting"})
	b.board.Set(ref("b"), core.Condition{Type: "Ready", Status: core.Pending, Reason: "Starting"})
	row, _ := b.cat.Operation("watch")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	seq, err := row.Stream(ctx, &api.WatchIn{What: "service/a"})
	if err != nil {
		t.Fatal(err)
	}
	next, stop := iter.Pull2(seq)
	expect := func(want string) {
		t.Helper()
		v, err, ok := next()
		if err != nil || !ok {
			t.Fatalf("%v %v", err, ok)
		}
		var line strings.Builder
		row.Print(&line, v)
		if _, got, _ := strings.Cut(strings.TrimSpace(line.String()), "service/a  "); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	expect("Ready pending Starting")
	b.board.Set(ref("b"), core.Condition{Type: "Ready", Status: core.True, Reason: "Ready"})
	b.apply("/shop", svc("a", use{Service: "b"}), svc("b"))
	expect("changed at revision 2 by anna (cli)")
	b.board.Set(ref("a"), core.Condition{Type: "Ready", Status: core.True, Reason: "Ready"})
	expect("Ready true Ready")
	b.board.Withdraw(ref("a"), "Ready")
	expect("Ready no longer observed")
	b.apply("/shop", svc("b"))
	expect("deleted at revision 3 by anna (cli)")
	stop()
	if _, err := row.Stream(ctx, &api.WatchIn{What: "nonsense"}); !fault.Is(err, fault.NotFound) {
		t.Fatalf("of nothing: %v", err)
	}
	seq, _ = row.Stream(ctx, &api.WatchIn{What: "service/a", From: 1})
	for v, err := range seq {
		if seen := v.(api.Seen); err != nil || seen.Revision != 2 || seen.Action != api.Changed {
			t.Fatalf("from revision 1: %+v %v", v, err)
		}
		break
	}
}

// Two applies that are each good alone cannot together leave a dangling reference.
func TestConcurrentApplies(t *testing.T) {
	for range 20 {
		b := newBench(t)
		b.apply("/shop", svc("callee"))
		b.apply("/other")
		errs := make(chan error, 2)
		go func() {
			_, _, err := try(b, "anna", api.ApplyOp, api.ApplyIn{Source: "/shop"}) // deletes callee
			errs <- err
		}()
		go func() {
			_, _, err := try(b, "bert", api.ApplyOp, api.ApplyIn{Source: "/other", Documents: []core.Document{svc("caller", use{Service: "callee"})}})
			errs <- err
		}()
		failed := 0
		for range 2 {
			if err := <-errs; err != nil {
				failed++
				if !fault.Is(err, fault.Invalid) {
					t.Fatal(err)
				}
			}
		}
		if failed != 1 || len(b.store.State().Docs) > 2 {
			t.Fatalf("%d of two were refused, left are %v", failed, b.store.State().Refs())
		}
	}
}
