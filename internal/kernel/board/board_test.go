package board

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"stoa/api/core"
)

var orders = core.Ref{Kind: core.KindService, Name: "orders"}

func ready(status core.Status, reason string, evidence ...string) core.Condition {
	return core.Condition{Type: "Ready", Status: status, Reason: reason, Evidence: evidence}
}

// Since tells when status or reason last changed, not when it was last said.
func TestSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(nil)
		began := core.At(time.Now())
		b.Set(orders, ready(core.Pending, "Starting"))
		time.Sleep(time.Second)
		b.Set(orders, core.Condition{Type: "Ready", Status: core.Pending, Reason: "Starting", Message: "still"})
		if c, _ := b.One(orders, "Ready"); c.Since != began || c.Message != "still" {
			t.Fatalf("%+v, want since %v", c, began)
		}
		b.Set(orders, ready(core.True, "Ready"))
		if c, _ := b.One(orders, "Ready"); c.Since != core.At(began.Add(time.Second)) {
			t.Fatalf("%+v, want a second later than %v", c, began)
		}
	})
}

// Why tells the last changes with their evidence, at most MaxTransitions of them, and no repetitions.
func TestWhy(t *testing.T) {
	b := New(nil)
	for i := range 100 {
		b.Set(orders, ready(core.False, fmt.Sprintf("R%d", i), "first"))
		b.Set(orders, ready(core.False, fmt.Sprintf("R%d", i), "later"))
	}
	why := b.Why(orders)
	if len(why) != MaxTransitions {
		t.Fatalf("%d transitions, want %d", len(why), MaxTransitions)
	}
	for i, tr := range why {
		want := fmt.Sprintf("R%d", 100-MaxTransitions+i)
		if tr.To.Reason != want || tr.To.Evidence[0] != "later" {
			t.Fatalf("transition %d is %+v, want %s with the latest evidence", i, tr, want)
		}
	}
	b.Withdraw(orders, "Ready")
	if why := b.Why(orders); why[len(why)-1].From.Reason != "R99" || len(b.Of(orders)) != 0 {
		t.Fatalf("withdrawn: %+v", why[len(why)-1])
	}
	b.Clear(orders)
	if len(b.Why(orders)) != 0 || len(b.All()) != 0 {
		t.Fatalf("cleared, and yet %v", b.All())
	}
}

// Evidence is bounded, and what is kept is the end of it.
func TestEvidenceIsBounded(t *testing.T) {
	b := New(nil)
	var lines []string
	for i := range 50 {
		lines = append(lines, fmt.Sprint(i))
	}
	b.Set(orders, ready(core.False, "CrashLoop", lines...))
	lines[49] = "changed by its owner"
	if e := b.Of(orders)[0].Evidence; len(e) != core.MaxEvidence || e[len(e)-1] != "49" {
		t.Fatalf("evidence %v", e)
	}
}

// A watcher hears the present state, each change, and that a ref was cleared.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(nil)
		b.Set(orders, ready(core.Pending, "Starting"))
		ctx, cancel := context.WithCancel(t.Context())
		var heard []string
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for o := range b.Watch(ctx) {
				heard = append(heard, fmt.Sprint(o.Ref, o.Conditions))
			}
		}()
		synctest.Wait()
		b.Set(orders, ready(core.True, "Ready"))
		synctest.Wait()
		b.Set(orders, ready(core.True, "Ready")) // no news
		synctest.Wait()
		b.Clear(orders)
		synctest.Wait()
		cancel()
		<-ended
		want := "[service/orders [Ready pending Starting] service/orders [Ready true Ready] service/orders []]"
		if got := fmt.Sprint(heard); got != want {
			t.Fatalf("heard %s, want %s", got, want)
		}
		if len(b.cleared) != 0 {
			t.Fatalf("%v is kept though no one watches", b.cleared)
		}
	})
}
