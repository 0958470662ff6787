package inject

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	api "stoa/api/inject"
	"stoa/api/op"
	engine "stoa/internal/engine/inject"
)

// A world is what a module lives in; it outlives the module, as a data folder does.
type world struct {
	t     *testing.T
	state core.State
	log   bytes.Buffer // read when nobody writes

	mu    sync.Mutex
	marks map[string]string         // guarded by mu
	full  error                     // what the disk says to writers; guarded by mu
	set   []engine.Fault            // what the proxy was told last; guarded by mu
	told  int                       // how often; guarded by mu
	board map[string]core.Condition // by service; guarded by mu
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, marks: map[string]string{}, board: map[string]core.Condition{}, state: core.State{Docs: map[core.Ref]core.Document{}}}
	for name, sections := range map[string]string{
		"inventory":  `{"run":{"go":"."},"listen":[{"protocol":"h2c"}]}`,
		"payments":   `{"run":{"external":["127.0.0.1:9"]}}`,
		"storefront": `{"run":{"go":"."},"uses":[{"service":"inventory"},{"service":"payments"}],"expose":[{"path":"/"}]}`,
		"pages":      `{"run":{"static":"dist"}}`,
		"cache":      `{"run":{"command":["redis"]},"listen":[{"protocol":"tcp"}]}`,
		"worker":     `{"run":{"go":"."},"listen":[]}`,
	} {
		d := core.Document{Kind: core.KindService, Name: name}
		if err := json.Unmarshal([]byte(sections), &d.Sections); err != nil {
			t.Fatal(err)
		}
		w.state.Docs[d.Ref()] = d
	}
	return w
}

// start runs a module until stop is called. It must be called in a bubble.
func (w *world) start() (m *Module, stop func()) {
	m = New(Ports{
		State: func() core.State { return w.state },
		Set: func(faults []engine.Fault) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.set, w.told = faults, w.told+1
		},
		Hits: func() map[string]engine.Hits {
			w.mu.Lock()
			defer w.mu.Unlock()
			hits := map[string]engine.Hits{}
			for _, f := range w.set {
				hits[f.ID] = engine.Hits{Matched: 9, Delayed: 4, Aborted: 3}
			}
			return hits
		},
		Mark: func(_ context.Context, key, value string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.full == nil {
				w.marks[key] = value
			}
			return w.full
		},
		MarkOf: func(_ context.Context, key string) (string, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.marks[key], nil
		},
		Observe: func(ref core.Ref, c core.Condition) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.board[ref.Name] = c
		},
		Withdraw: func(ref core.Ref, typ string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if typ == Condition {
				delete(w.board, ref.Name)
			}
		},
	}, Options{Log: slog.New(slog.NewTextHandler(&w.log, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	var lives sync.WaitGroup
	up := make(chan struct{})
	lives.Go(func() {
		if err := m.run(ctx, func() { close(up) }); err != nil {
			w.t.Error(err)
		}
	})
	<-up
	return m, func() { cancel(); lives.Wait() }
}

func (w *world) must(m *Module, in api.FaultIn) api.Fault {
	w.t.Helper()
	f, err := m.inject(anna(), in)
	if err != nil {
		w.t.Fatalf("%+v: %v", in, err)
	}
	return f
}

func anna() context.Context {
	return op.WithCaller(context.Background(), op.Caller{Name: "anna", UID: 1000, Via: "cli"})
}

// acting names what the proxy was told to inject.
func (w *world) acting() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for _, f := range w.set {
		names = append(names, f.ID)
	}
	return strings.Join(names, " ")
}

func (w *world) shown(service string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.board[service].Message
}

func (w *world) kept() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.marks[Mark]
}

// A fault acts, is kept and seen until its time is over; then all of it ends without anybody's doing.
func TestAFaultEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.start()
		f := w.must(m, api.FaultIn{Service: "inventory", Abort: 503, Percent: 30, From: "storefront", Reason: "game day"})
		if f.Name != "inventory-1" || f.By != "anna (cli)" || f.Until.Sub(f.Began.Time) != 5*time.Minute {
			t.Errorf("%+v", f)
		}
		want := engine.Fault{ID: "inventory-1", Caller: "storefront", Callee: "inventory", Percent: 30, Abort: 503, Until: time.Now().Add(5 * time.Minute).UnixNano(), Reason: "game day", By: "anna (cli)"}
		if len(w.set) != 1 || w.set[0] != want {
			t.Errorf("the proxy was told %+v, want %+v", w.set, want)
		}
		for _, s := range []string{"30% of calls of storefront to inventory are answered with 503, until ", "inventory-1, by anna (cli): game day"} {
			if got := w.shown("inventory"); !strings.Contains(got, s) {
				t.Errorf("the condition says %q, want %q in it", got, s)
			}
			if got := strings.Join(m.Of("inventory"), "|"); !strings.Contains(got, s) {
				t.Errorf("the status says %q, want %q in it", got, s)
			}
		}
		<-time.After(5*time.Minute - time.Millisecond)
		synctest.Wait()
		if w.acting() != "inventory-1" || w.kept() == "" {
			t.Errorf("before its end: acting %q, kept %q", w.acting(), w.kept())
		}
		<-time.After(time.Millisecond)
		synctest.Wait()
		if w.acting() != "" || w.kept() != "" || w.shown("inventory") != "no fault is injected any more" || m.Of("inventory") != nil {
			t.Errorf("after its end: acting %q, kept %q, shown %q, %q", w.acting(), w.kept(), w.shown("inventory"), m.Of("inventory"))
		}
		if out, err := m.list(t.Context(), api.FaultsIn{}); err != nil || len(out.Faults) != 0 {
			t.Errorf("listed %+v, %v", out, err)
		}
		told := w.told
		<-time.After(24 * time.Hour)
		if w.told != told {
			t.Errorf("the proxy was told %d times more, of nothing", w.told-told)
		}
		stop()
		for _, s := range []string{`msg="a fault is injected" part=inject fault=inventory-1 service=inventory`, `by="anna (cli)" reason="game day"`, `msg="a fault is no longer injected"`, `why="its time is over"`} {
			if !strings.Contains(w.log.String(), s) {
				t.Errorf("the log lacks %s:\n%s", s, w.log.String())
			}
		}
	})
}

// What is in force survives a restart until its end, and not longer; names are not used twice.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.start()
		w.must(m, api.FaultIn{Service: "inventory", Delay: core.Duration(2 * time.Second), For: core.Duration(time.Minute)})
		w.must(m, api.FaultIn{Service: "inventory", Abort: 500, For: core.Duration(time.Hour)})
		w.must(m, api.FaultIn{Service: "payments", Abort: 500, For: core.Duration(2 * time.Hour)})
		stop()
		w.set, w.board = nil, map[string]core.Condition{}
		<-time.After(10 * time.Minute)
		delete(w.state.Docs, core.Ref{Kind: core.KindService, Name: "payments"}) // by an apply that another Stoa took

		m, stop = w.start()
		if got := w.acting(); got != "inventory-2" {
			t.Errorf("after the restart %q acts", got)
		}
		if got := w.shown("inventory"); !strings.Contains(got, "inventory-2") {
			t.Errorf("the condition says %q", got)
		}
		if f := w.must(m, api.FaultIn{Service: "inventory", Abort: 500}); f.Name != "inventory-3" {
			t.Errorf("the next is called %s", f.Name)
		}
		stop()
		<-time.After(2 * time.Hour)
		_, stop = w.start()
		defer stop()
		if w.acting() != "" || w.kept() != "" || w.shown("payments") != "" {
			t.Errorf("long after: acting %q, kept %q", w.acting(), w.kept())
		}
	})
}

// A clock that was set back does not make a fault longer than a day, and what cannot be read is no reason not to start.
func TestWhatWasKeptMayBeWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.marks[Mark] = fmt.Sprintf(`[{"id":"x","callee":"inventory","percent":100,"abort":503,"until":%d}]`, time.Now().Add(1000*time.Hour).UnixNano())
		_, stop := w.start()
		if w.acting() != "x" {
			t.Errorf("%q acts", w.acting())
		}
		<-time.After(engine.MaxAhead)
		synctest.Wait()
		if w.acting() != "" {
			t.Errorf("%q acts after a day", w.acting())
		}
		stop()
		w.marks[Mark] = `[{"id":`
		m, stop := w.start()
		defer stop()
		w.must(m, api.FaultIn{Service: "inventory", Abort: 503})
		if w.acting() != "inventory-1" {
			t.Errorf("%q acts", w.acting())
		}
	})
}

// Faults add up; each is ended by its name, those of a service by the service's, all without a name.
func TestClear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.start()
		defer stop()
		for range 2 {
			w.must(m, api.FaultIn{Service: "inventory", Abort: 503})
			w.must(m, api.FaultIn{Service: "payments", Abort: 503})
		}
		w.must(m, api.FaultIn{Service: "storefront", Name: "slow-shop", Jitter: core.Duration(time.Second), From: "gateway"})
		if got := w.acting(); got != "inventory-1 inventory-2 payments-1 payments-2 slow-shop" {
			t.Fatalf("%q act", got)
		}
		if w.board["inventory"].Message != "2 faults are injected" || len(w.board["inventory"].Evidence) != 2 {
			t.Errorf("the condition of inventory is %+v", w.board["inventory"])
		}
		for _, c := range []struct{ what, rest string }{
			{"inventory-1", "inventory-2 payments-1 payments-2 slow-shop"},
			{"payments", "inventory-2 slow-shop"},
			{"cache", "inventory-2 slow-shop"}, // it has none
			{"", ""},
			{"", ""},
		} {
			out, err := m.clear(anna(), api.ClearIn{What: strings.Fields(c.what)})
			if err != nil || w.acting() != c.rest {
				t.Errorf("clear %s: %v; %q act, want %q", c.what, err, w.acting(), c.rest)
			}
			if want := map[string]int{"inventory-1": 1, "payments": 2}[c.what]; c.what != "" && len(out.Faults) != want {
				t.Errorf("clear %s: %+v, want %d", c.what, out, want)
			}
		}
		for service, c := range w.board {
			if c.Status != core.True || c.Reason != "NothingInjected" {
				t.Errorf("%s is left as %v", service, c)
			}
		}
		if w.kept() != "" {
			t.Errorf("kept: %q", w.kept())
		}
		w.must(m, api.FaultIn{Service: "inventory", Abort: 503})
		_, err := m.clear(anna(), api.ClearIn{What: []string{"inventory-3", "inventroy"}})
		if !fault.Is(err, fault.NotFound) || !strings.Contains(fault.HintOf(err), "inventory-3") || w.acting() != "inventory-3" {
			t.Errorf("clear of one that is unknown: %v (%s), %q act", err, fault.HintOf(err), w.acting())
		}
	})
}

// When nothing can be written, no fault begins, and each can be ended.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.start()
		defer stop()
		w.must(m, api.FaultIn{Service: "inventory", Abort: 503})
		w.mu.Lock()
		w.full = fault.New(fault.Exhausted, "journal", "no space left").WithHint("Make space.")
		w.mu.Unlock()
		if _, err := m.inject(anna(), api.FaultIn{Service: "payments", Abort: 503}); !fault.Is(err, fault.Exhausted) || w.acting() != "inventory-1" {
			t.Errorf("inject: %v, %q act", err, w.acting())
		}
		out, err := m.clear(anna(), api.ClearIn{})
		if !fault.Is(err, fault.Exhausted) || w.acting() != "" || len(out.Faults) != 1 || m.Of("inventory") != nil {
			t.Errorf("clear: %v, %q act", err, w.acting())
		}
		if err == nil || !strings.Contains(err.Error(), "no longer injected") || fault.HintOf(err) != "Make space." {
			t.Errorf("clear: %v (%s)", err, fault.HintOf(err))
		}
	})
}

// The faults of a service, and of its calls, go with it.
func TestServiceGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.start()
		defer stop()
		w.must(m, api.FaultIn{Service: "inventory", Abort: 503, From: "storefront"})
		w.must(m, api.FaultIn{Service: "payments", Abort: 503})
		for _, c := range []struct{ gone, rest string }{{"", "inventory-1 payments-1"}, {"storefront", "payments-1"}, {"payments", ""}} {
			delete(w.state.Docs, core.Ref{Kind: core.KindService, Name: c.gone})
			for _, name := range []string{"storefront", "inventory", "payments"} {
				if _, err := m.reconcile(t.Context(), core.Ref{Kind: core.KindService, Name: name}); err != nil {
					t.Error(err)
				}
			}
			if w.acting() != c.rest {
				t.Errorf("without %q: %q act, want %q", c.gone, w.acting(), c.rest)
			}
		}
		if len(w.board) != 1 || w.shown("inventory") == "" {
			t.Errorf("the board has %v: want inventory, which is still there", w.board)
		}
	})
}

// What could do no good or no harm is refused, with what would be right.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.start()
		defer stop()
		w.must(m, api.FaultIn{Service: "payments", Name: "taken", Abort: 503})
		hour := core.Duration(time.Hour)
		for _, c := range []struct {
			in         api.FaultIn
			kind       fault.Kind
			text, hint string
		}{
			{api.FaultIn{Service: "inventroy", Abort: 503}, fault.NotFound, "service/inventroy: not found", "Did you mean inventory?"},
			{api.FaultIn{Service: "pages", Abort: 503}, fault.Invalid, "service/pages: is files", "stoa map"},
			{api.FaultIn{Service: "cache", Abort: 503}, fault.Invalid, "service/cache: is not called by HTTP", "stoa map"},
			{api.FaultIn{Service: "worker", Abort: 503}, fault.Invalid, "service/worker: is not called by HTTP", "stoa map"},
			{api.FaultIn{Service: "inventory"}, fault.Invalid, "abort: the fault neither delays nor aborts", "Give a delay"},
			{api.FaultIn{Service: "inventory", Abort: 200, Delay: hour}, fault.Invalid, "delay: 1h0m0s is not between 0 and 5m0s; abort: 200 is no status of a failure", "Give a delay"},
			{api.FaultIn{Service: "inventory", Abort: 503, Percent: 101}, fault.Invalid, "percent: 101 is not", "30"},
			{api.FaultIn{Service: "inventory", Abort: 503, For: 25 * hour}, fault.Invalid, "for: 25h is not between 1s and 24h", "--for 1h"},
			{api.FaultIn{Service: "inventory", Abort: 503, For: 1}, fault.Invalid, "for: 1ns is not between 1s and 24h", "--for 1h"},
			{api.FaultIn{Service: "inventory", Abort: 503, From: "storefrnt"}, fault.NotFound, "service/storefrnt: not found", "Did you mean storefront?"},
			{api.FaultIn{Service: "inventory", Abort: 503, From: "payments"}, fault.Invalid, "from: payments does not call inventory", "storefront"},
			{api.FaultIn{Service: "inventory", Abort: 503, From: "nobody"}, fault.NotFound, "service/nobody: not found", "storefront"},
			{api.FaultIn{Service: "inventory", Abort: 503, From: "gateway"}, fault.Invalid, "from: gateway does not call inventory", "storefront"},
			{api.FaultIn{Service: "inventory", Abort: 503, Header: "X Test"}, fault.Invalid, `header: "X Test" is no name`, "X-Test-Fault"},
			{api.FaultIn{Service: "inventory", Abort: 503, Header: "X-Test:"}, fault.Invalid, "header: there is no value", "X-Test-Fault"},
			{api.FaultIn{Service: "inventory", Abort: 503, Header: "X-Test: a\nb"}, fault.Invalid, "header.value: ", "shorter"},
			{api.FaultIn{Service: "inventory", Abort: 503, Reason: strings.Repeat("x", 300)}, fault.Invalid, "reason: ", "shorter"},
			{api.FaultIn{Service: "inventory", Abort: 503, Name: "Not A Name"}, fault.Invalid, "Not A Name", ""},
			{api.FaultIn{Service: "inventory", Abort: 503, Name: "taken"}, fault.Conflict, "taken: there is a fault of this name", "stoa faults clear taken"},
		} {
			_, err := m.inject(anna(), c.in)
			if !fault.Is(err, c.kind) || !strings.Contains(fmt.Sprint(err), c.text) || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Errorf("%+v: %v (%s)\nwant %s: %s (%s)", c.in, err, fault.HintOf(err), c.kind, c.text, c.hint)
			}
		}
		if w.acting() != "taken" {
			t.Errorf("%q act", w.acting())
		}
		for range engine.MaxFaults - 1 {
			w.must(m, api.FaultIn{Service: "inventory", Abort: 503, For: hour})
		}
		if _, err := m.inject(anna(), api.FaultIn{Service: "inventory", Abort: 503}); !fault.Is(err, fault.Exhausted) {
			t.Errorf("one too many: %v", err)
		}
		if len(w.kept()) > 64<<10 {
			t.Errorf("%d bytes are kept", len(w.kept()))
		}
		<-time.After(6 * time.Minute) // taken is over
		w.must(m, api.FaultIn{Service: "inventory", Abort: 503})
	})
}

// What is shown says all that was asked for.
func TestViews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.start()
		defer stop()
		s := core.Duration(time.Second)
		for _, c := range []struct {
			in   api.FaultIn
			want string
		}{
			{api.FaultIn{Abort: 503}, "all calls to inventory are answered with 503, until "},
			{api.FaultIn{Delay: 2 * s, Percent: 0.5}, "0.5% of calls to inventory wait 2s, until "},
			{api.FaultIn{Jitter: 2 * s}, "all calls to inventory wait up to 2s, until "},
			{api.FaultIn{Delay: 2 * s, Jitter: s / 2, Abort: 500, Header: "X-Test : yes"}, "all calls to inventory with X-Test: yes wait 2s to 2.5s and are answered with 500, until "},
			{api.FaultIn{Abort: 500, Header: "X-Test", From: "storefront", For: 24 * 3600 * s}, "all calls of storefront to inventory with X-Test are answered with 500, until 2000-01-0"}, // another day
			{api.FaultIn{Service: "storefront", Abort: 500, From: "gateway"}, "all calls from outside to storefront are answered with 500, until "},
		} {
			if c.in.Service == "" {
				c.in.Service = "inventory"
			}
			f := w.must(m, c.in)
			if !strings.HasPrefix(f.Does, c.want) {
				t.Errorf("%+v: %q, want %q", c.in, f.Does, c.want)
			}
			if f.From != c.in.From {
				t.Errorf("from is %q, want %q", f.From, c.in.From)
			}
			out, err := m.list(t.Context(), api.FaultsIn{Service: f.Service})
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			printFaults(&b, out)
			if !strings.Contains(b.String(), f.Does) || !strings.Contains(b.String(), "anna (cli)") {
				t.Errorf("the list lacks %q:\n%s", f.Does, b.String())
			}
			if g := out.Faults[len(out.Faults)-1]; g.Matched != 9 || g.Delayed != 4 || g.Aborted != 3 || !strings.Contains(b.String(), "9        4        3        ") {
				t.Errorf("what it did is not told: %+v\n%s", g, b.String())
			}
			b.Reset()
			PrintInjected(&b, f)
			if !strings.Contains(b.String(), "stoa faults clear "+f.Name) {
				t.Errorf("printed %q", b.String())
			}
		}
		if _, err := m.list(t.Context(), api.FaultsIn{Service: "storfront"}); !fault.Is(err, fault.NotFound) {
			t.Errorf("the faults of nobody: %v", err)
		}
		var none bytes.Buffer
		printFaults(&none, api.Faults{})
		printCleared(&none, api.Cleared{})
		if !strings.Contains(none.String(), "stoa inject SERVICE") {
			t.Errorf("printed %q", none.String())
		}
	})
}

// Many at once leave the proxy with what is listed.
func TestMany(t *testing.T) {
	w := newWorld(t)
	m, stop := w.start()
	defer stop()
	var lives sync.WaitGroup
	for i := range 8 {
		lives.Go(func() {
			for range 20 {
				f, err := m.inject(anna(), api.FaultIn{Service: "inventory", Abort: 503})
				if err == nil && i%2 == 0 {
					_, err = m.clear(anna(), api.ClearIn{What: []string{f.Name}})
				}
				if err != nil && !fault.Is(err, fault.Exhausted) {
					t.Error(err)
				}
				_ = m.Of("inventory")
			}
		})
	}
	lives.Wait()
	out, err := m.list(t.Context(), api.FaultsIn{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range out.Faults {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != w.acting() {
		t.Errorf("listed %s\nacting %s", got, w.acting())
	}
	if _, err := m.clear(anna(), api.ClearIn{}); err != nil || errors.Is(err, context.Canceled) || w.acting() != "" {
		t.Errorf("clear: %v, %q act", err, w.acting())
	}
}
