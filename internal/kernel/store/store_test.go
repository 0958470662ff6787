package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/op"
	"stoa/internal/engine/pebblestore"
	"stoa/internal/ground/journal"
	"stoa/internal/kernel/store"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func doc(name, env string) core.Document {
	return core.Document{
		Kind: core.KindService, Name: name, Source: "/shop", File: name + "/stoa.yaml",
		Sections: map[string]json.RawMessage{"env": json.RawMessage(`{"V": "` + env + `"}`)},
	}
}

func ref(name string) core.Ref { return core.Ref{Kind: core.KindService, Name: name} }

func anna() context.Context {
	return op.WithCaller(context.Background(), op.Caller{Name: "anna", UID: 1000, Via: "cli"})
}

// memory gives the log of the resources on a disk in memory.
func memory(t testing.TB) journal.Log {
	t.Helper()
	m := pebblestore.Memory()
	t.Cleanup(func() { m.Close() })
	l, err := m.Log(context.Background(), "resources")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func open(t testing.TB, l journal.Log, o store.Options) *store.Store {
	t.Helper()
	if o.Log == nil {
		o.Log = quiet
	}
	s, err := store.Open(context.Background(), l, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func commit(t testing.TB, s *store.Store, c store.Change) uint64 {
	t.Helper()
	rev, err := s.Commit(anna(), c)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return rev
}

// same fails unless the two states hold the same documents at the same revision.
func same(t testing.TB, what string, got, want core.State) {
	t.Helper()
	if got.Revision != want.Revision {
		t.Fatalf("%s: revision %d, want %d", what, got.Revision, want.Revision)
	}
	if !reflect.DeepEqual(got.Refs(), want.Refs()) {
		t.Fatalf("%s: documents %v, want %v", what, got.Refs(), want.Refs())
	}
	for r, d := range want.Docs {
		if g := got.Docs[r]; string(g.Canonical()) != string(d.Canonical()) {
			t.Fatalf("%s: %s is %s, want %s", what, r, g.Canonical(), d.Canonical())
		}
	}
}

// What was committed comes back after a restart, with who did it and when.
func TestReopen(t *testing.T) {
	l := memory(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	o := store.Options{Now: func() time.Time { return now }}
	s := open(t, l, o)
	commit(t, s, store.Change{Puts: []core.Document{doc("a", "1"), doc("b", "1")}, Source: "/shop", Message: "first <light>"})
	commit(t, s, store.Change{Puts: []core.Document{doc("a", "2")}, Deletes: []core.Ref{ref("b")}, Source: "/shop"})

	again := open(t, l, o)
	same(t, "reopened", again.State(), s.State())
	if !reflect.DeepEqual(again.View().Last, s.View().Last) {
		t.Fatalf("last changes: %v, want %v", again.View().Last, s.View().Last)
	}
	h := again.History(0)
	if len(h) != 2 || !reflect.DeepEqual(h, s.History(0)) {
		t.Fatalf("history: %+v, want %+v", h, s.History(0))
	}
	if h[1].Message != "first <light>" || h[1].Created != 2 || h[0].Changed != 1 || h[0].Deleted != 1 || h[1].Who.Name != "anna" || !h[1].At.Equal(now) {
		t.Fatalf("history: %+v", h)
	}
	if got := again.History(1); len(got) != 1 || got[0].Revision != 2 {
		t.Fatalf("history of one: %+v", got)
	}
	if rev := commit(t, again, store.Change{Puts: []core.Document{doc("c", "1")}}); rev != 3 {
		t.Fatalf("revision %d after a restart, want 3", rev)
	}
}

// An apply that changes nothing makes no revision.
func TestIdentical(t *testing.T) {
	s := open(t, memory(t), store.Options{})
	commit(t, s, store.Change{Puts: []core.Document{doc("a", "1")}})
	d := doc("a", "1")
	d.Sections["env"] = json.RawMessage("{ \"V\":\n\"1\" }") // the same, written otherwise
	if rev := commit(t, s, store.Change{Puts: []core.Document{d}, Deletes: []core.Ref{ref("nobody")}}); rev != 1 {
		t.Fatalf("revision %d, want still 1", rev)
	}
	if rev := commit(t, s, store.Change{}); rev != 1 {
		t.Fatalf("revision %d, want still 1", rev)
	}
}

// A commit is refused only if what it has read has changed, and says by whom.
func TestConflict(t *testing.T) {
	s := open(t, memory(t), store.Options{})
	commit(t, s, store.Change{Puts: []core.Document{doc("a", "1"), doc("b", "1"), doc("gone", "1")}})
	commit(t, s, store.Change{Puts: []core.Document{doc("b", "2")}, Deletes: []core.Ref{ref("gone")}})

	if _, err := s.Commit(anna(), store.Change{Reads: map[core.Ref]uint64{ref("a"): 1, ref("new"): 0}, Puts: []core.Document{doc("a", "3")}}); err != nil {
		t.Fatalf("b changed, a was read: %v", err)
	}
	_, err := s.Commit(anna(), store.Change{
		Reads: map[core.Ref]uint64{ref("a"): 3, ref("b"): 1, ref("gone"): 1, ref("never"): 7},
		Puts:  []core.Document{doc("a", "4")},
	})
	if !fault.Is(err, fault.Conflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
	for _, want := range []string{
		"service/b was changed at revision 2 by anna (cli)", "service/gone was deleted at revision 2 by anna (cli)", "service/never was deleted",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "service/a ") {
		t.Errorf("%q blames service/a, which has not changed", err)
	}
	if got := s.State().Revision; got != 3 {
		t.Fatalf("revision %d after a refused commit, want 3", got)
	}
}

// A plan that another commit overtook is made again, on what is then there.
func TestUpdateMovesOn(t *testing.T) {
	s := open(t, memory(t), store.Options{})
	plans := 0
	rev, err := s.Update(anna(), func(v store.View) (store.Change, error) {
		plans++
		if plans == 1 {
			commit(t, s, store.Change{Puts: []core.Document{doc("other", "1")}})
		}
		return store.Change{Puts: []core.Document{doc("count", fmt.Sprint(len(v.Docs)))}}, nil
	})
	if err != nil || rev != 2 || plans != 2 {
		t.Fatalf("revision %d, %v after %d plans; want 2 after 2", rev, err, plans)
	}
	if got := string(s.State().Docs[ref("count")].Sections["env"]); got != `{"V":"1"}` {
		t.Fatalf("count holds %s, want what the second plan saw", got)
	}
}

// Concurrent commits that each read one document lose no update.
func TestConcurrentCommits(t *testing.T) {
	s := open(t, memory(t), store.Options{})
	commit(t, s, store.Change{Puts: []core.Document{doc("n", "0")}})
	const writers, each = 4, 10
	done := make(chan error, writers)
	for range writers {
		go func() {
			for i := 0; i < each; {
				v := s.View()
				var e map[string]int
				var raw struct{ V string }
				_ = json.Unmarshal(v.Docs[ref("n")].Sections["env"], &raw)
				var n int
				fmt.Sscan(raw.V, &n)
				_, err := s.Commit(anna(), store.Change{
					Reads: map[core.Ref]uint64{ref("n"): v.Last[ref("n")].Revision},
					Puts:  []core.Document{doc("n", fmt.Sprint(n+1))},
				})
				switch {
				case err == nil:
					i++
				case !fault.Is(err, fault.Conflict):
					done <- err
					return
				}
				_ = e
			}
			done <- nil
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if got := string(s.State().Docs[ref("n")].Sections["env"]); got != fmt.Sprintf(`{"V":"%d"}`, writers*each) {
		t.Fatalf("the counter is %s after %d increments", got, writers*each)
	}
}

// What cannot be kept is refused, naming it, and changes nothing.
func TestRefused(t *testing.T) {
	s := open(t, memory(t), store.SmallEntries(store.Options{}))
	big := doc("big", strings.Repeat("x", store.MaxDocument))
	var many []core.Document
	for i := range store.MaxParts + 1 {
		many = append(many, doc(fmt.Sprintf("d%d", i), strings.Repeat("x", 3000))) // one to an entry
	}
	broken := doc("broken", "1")
	broken.Sections["env"] = json.RawMessage(`{`)
	for _, tt := range []struct {
		name string
		c    store.Change
		says string
	}{
		{"a document over the limit", store.Change{Puts: []core.Document{big}}, "service/big"},
		{"an apply over the limit", store.Change{Puts: many}, "at most 32"},
		{"a document twice", store.Change{Puts: []core.Document{doc("a", "1")}, Deletes: []core.Ref{ref("a")}}, "service/a: it is in the change twice"},
		{"no JSON", store.Change{Puts: []core.Document{broken}}, "service/broken"},
		{"no name", store.Change{Puts: []core.Document{doc("", "1")}}, "kind"},
		{"no kind", store.Change{Puts: []core.Document{{Kind: "service", Name: "a"}}}, "service"},
		{"a message like a book", store.Change{Puts: []core.Document{doc("a", "1")}, Message: strings.Repeat("x", 1<<20)}, "message"},
	} {
		_, err := s.Commit(anna(), tt.c)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want invalid with %q", tt.name, err, tt.says)
		}
	}
	if got := s.State(); got.Revision != 0 || len(got.Docs) != 0 {
		t.Fatalf("refused changes left %+v", got)
	}
}

// An apply of several megabytes is several entries and still one revision.
func TestSeveralEntries(t *testing.T) {
	l := memory(t)
	s := open(t, l, store.Options{})
	var docs []core.Document
	for i := range 12 {
		docs = append(docs, doc(fmt.Sprintf("d%d", i), strings.Repeat("x", 300_000)))
	}
	commit(t, s, store.Change{Puts: docs})
	if _, last, _ := l.Bounds(context.Background()); last < 4 {
		t.Fatalf("%d entries, want at least 4", last)
	}
	again := open(t, l, store.Options{})
	same(t, "reopened", again.State(), s.State())
	if st := again.State(); st.Revision != 1 || len(st.Docs) != 12 {
		t.Fatalf("revision %d with %d documents, want 1 with 12", st.Revision, len(st.Docs))
	}
}

// Before it is open a store is empty, and says so.
func TestNotOpen(t *testing.T) {
	s := store.New(store.Options{Log: quiet})
	if _, err := s.Commit(anna(), store.Change{}); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("commit: %v", err)
	}
	if _, err := s.At(anna(), 1); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("at: %v", err)
	}
	for _, err := range s.Watch(anna(), 0) {
		if !fault.Is(err, fault.Unavailable) {
			t.Fatalf("watch: %v", err)
		}
	}
	if st := s.State(); st.Revision != 0 || st.Docs == nil {
		t.Fatalf("state: %+v", st)
	}
}

// A program that is too old for a log refuses it and says what to do.
func TestNewerRecord(t *testing.T) {
	l := memory(t)
	s := open(t, l, store.Options{})
	commit(t, s, store.Change{Puts: []core.Document{doc("a", "1")}})
	if _, err := l.Append(context.Background(), 1, journal.Mark([16]byte{1}, 1), []byte(`{"version":2,"kind":"apply","part":1,"parts":1,"revision":2}`)); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(context.Background(), l, store.Options{Log: quiet})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "newer Stoa") || fault.HintOf(err) == "" {
		t.Fatalf("got %v, hint %q", err, fault.HintOf(err))
	}
	// The open one meets it at its next commit, and writes nothing after it.
	if _, err := s.Commit(anna(), store.Change{Puts: []core.Document{doc("a", "2")}}); !fault.Is(err, fault.Invalid) {
		t.Fatalf("commit after a newer record: %v", err)
	}
	if _, err := s.Commit(anna(), store.Change{Puts: []core.Document{doc("a", "2")}}); !fault.Is(err, fault.Invalid) {
		t.Fatalf("second commit after a newer record: %v", err)
	}
}

// A log that does not add up is refused with the entry named.
func TestBrokenLog(t *testing.T) {
	mark := journal.Mark([16]byte{1}, 1)
	for _, tt := range []struct {
		name, header, item string
	}{
		{"no JSON", `{"version":`, ""},
		{"a gap", `{"version":1,"kind":"apply","part":1,"parts":1,"revision":3}`, ""},
		{"a later part", `{"version":1,"kind":"apply","part":2,"parts":2,"revision":1}`, ""},
		{"no kind", `{"version":1,"kind":"dance","part":1,"parts":1,"revision":1}`, ""},
		{"another's document", `{"version":1,"kind":"apply","part":1,"parts":1,"revision":1}`, `{"ref":"service/a","document":{"kind":"Service","name":"b"}}`},
		{"an item that is none", `{"version":1,"kind":"apply","part":1,"parts":1,"revision":1}`, `7`},
		{"a checkpoint without content", `{"version":1,"kind":"checkpoint","part":1,"parts":1,"revision":1}`, `{"ref":"service/a","document":null}`},
	} {
		l := memory(t)
		items := [][]byte{mark, []byte(tt.header)}
		if tt.item != "" {
			items = append(items, []byte(tt.item))
		}
		if _, err := l.Append(context.Background(), 0, items...); err != nil {
			t.Fatal(err)
		}
		_, err := store.Open(context.Background(), l, store.Options{Log: quiet})
		if err == nil || !strings.Contains(err.Error(), "entry 1") || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}

// thousand gives 1,000 documents of some 600 bytes.
func thousand(v string) []core.Document {
	docs := make([]core.Document, 1000)
	for i := range docs {
		docs[i] = doc(fmt.Sprintf("s%d", i), v+strings.Repeat("x", 400))
		docs[i].Artefacts = map[string]string{"program": fmt.Sprintf("sha256:%064d", i)}
	}
	return docs
}

func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := open(b, memory(b), store.Options{})
			commit(b, s, store.Change{Puts: thousand("first")})
			i := 0
			for b.Loop() {
				i++
				commit(b, s, store.Change{Puts: thousand(fmt.Sprint(i))[:n]})
			}
		})
	}
}

// A start after a full history: 1,000 revisions of 1,000 documents, ten checkpoints.
func BenchmarkOpen(b *testing.B) {
	l := memory(b)
	s := open(b, l, store.Options{})
	commit(b, s, store.Change{Puts: thousand("first")})
	for i := range 1000 {
		commit(b, s, store.Change{Puts: thousand(fmt.Sprint(i))[:1]})
	}
	for b.Loop() {
		open(b, l, store.Options{})
	}
}
