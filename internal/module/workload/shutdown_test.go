package workload

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stoa/api/core"
)

func TestOrder(t *testing.T) {
	for _, c := range []struct{ name, uses, want string }{
		{"nothing", "", ""},
		{"strangers go together", "a b c", "a b c"},
		{"callers go first", "db orders:db web:orders", "web | orders | db"},
		{"also when a callee is called by two levels", "db orders:db web:orders,db", "web | orders | db"},
		{"the longest way counts", "a:b,d b:c c:d d", "a | b | c | d"},
		{"those on one level go together", "cart:db db search web:cart,search", "web | cart search | db"},
		{"in a circle the first by name begins", "a:b b:a", "a | b"},
		{"what a circle uses comes after it", "a:z b:c c:b,a z", "b | c | a | z"},
		{"what uses a circle comes before it", "a:b b:a z:b", "z | a | b"},
		{"two circles", "a:b b:a c:d,a d:c", "c | d | a | b"},
	} {
		uses := map[string][]string{}
		for _, f := range strings.Fields(c.uses) {
			name, callees, _ := strings.Cut(f, ":")
			uses[name] = strings.FieldsFunc(callees, func(r rune) bool { return r == ',' })
		}
		var turns []string
		for _, turn := range order(uses) {
			turns = append(turns, strings.Join(turn, " "))
		}
		if got := strings.Join(turns, " | "); got != c.want {
			t.Errorf("%s: %q gives %q, want %q", c.name, c.uses, got, c.want)
		}
	}
}

// threesome declares a, which uses b, which uses c, and gives what is being drained as it begins.
func threesome(s *stage, hold map[string]chan struct{}) (draining func() []string) {
	var mu sync.Mutex
	var begun []string
	names := map[string]string{} // of services, by endpoint
	s.drained = func(ctx context.Context, endpoint string) error {
		mu.Lock()
		name := names[endpoint]
		begun = append(begun, name)
		mu.Unlock()
		select {
		case <-hold[name]:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.quiet = func(context.Context) {
		mu.Lock()
		defer mu.Unlock()
		begun = append(begun, "gateway")
	}
	var docs []core.Document
	for name, uses := range map[string]string{"a": `[{"service":"b"}]`, "b": `[{"service":"c"}]`, "c": `[]`} {
		d := service("serve", "uses", uses, "stop", `{"grace":"1h"}`)
		d.Name = name
		docs = append(docs, d)
	}
	s.declare(docs...)
	for _, name := range []string{"a", "b", "c"} {
		s.until(name+" is ready", func() bool { return len(s.at(name)) == 1 })
		mu.Lock()
		names[s.at(name)[0].ID] = name
		mu.Unlock()
	}
	return func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(begun) }
}

// When Stoa stops, the gateway closes, then callers end before what they use: that can
// be called as long as they finish what they hold.
func TestShutdownEndsCallersFirst(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.m.o.StopGrace, s.m.o.Stagger = 4*time.Hour, time.Hour
	hold := map[string]chan struct{}{"a": make(chan struct{}), "b": make(chan struct{}), "c": make(chan struct{})}
	draining := threesome(s, hold)
	down := make(chan struct{})
	go func() { s.shut(); close(down) }()
	for i, name := range []string{"a", "b", "c"} {
		s.until(name+" drains", func() bool { return slices.Contains(draining(), name) })
		for _, callee := range []string{"a", "b", "c"}[i+1:] {
			if len(s.at(callee)) != 1 {
				t.Errorf("%s cannot be called while %s finishes", callee, name)
			}
		}
		close(hold[name])
	}
	<-down
	if got := fmt.Sprint(draining()); got != "[gateway a b c]" {
		t.Errorf("the order was %s", got)
	}
}

// What hangs holds up what it uses for its share of the time, no longer.
func TestShutdownIsNotHeldUp(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.m.o.StopGrace, s.m.o.Stagger = 4*time.Hour, 200*time.Millisecond
	hang := make(chan struct{})
	draining := threesome(s, map[string]chan struct{}{"a": hang, "b": hang, "c": hang})
	down := make(chan struct{})
	go func() { s.shut(); close(down) }()
	s.until("all drain, though the first hangs", func() bool { return len(draining()) == 4 })
	close(hang)
	<-down
}
