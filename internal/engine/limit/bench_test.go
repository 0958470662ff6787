package limit

import (
	"testing"
	"time"
)

func BenchmarkEnterLeave(b *testing.B) {
	l := New(Config{})
	now := int64(1e12)
	b.ReportAllocs()
	for b.Loop() {
		now += 1000
		if a, _ := l.Enter(now, Request{Cohort: 5}); a != Admitted {
			b.Fatal(a)
		}
		l.Leave(now, time.Millisecond, OK)
	}
}

func BenchmarkEnterLeaveParallel(b *testing.B) {
	l := New(Config{})
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		now := int64(1e12)
		for p.Next() {
			now += 1000
			if a, _ := l.Enter(now, Request{Cohort: 5}); a != Admitted {
				b.Error(a)
				return
			}
			l.Leave(now, time.Millisecond, OK)
		}
	})
}

// One more than the limit: each request waits for the one before.
func BenchmarkQueued(b *testing.B) {
	l := New(Config{Max: 1})
	now := int64(1e12)
	l.Enter(now, Request{Priority: Critical})
	b.ReportAllocs()
	for b.Loop() {
		now += 1e6
		_, w := l.Enter(now, Request{Priority: Critical})
		l.Leave(now, time.Millisecond, OK)
		<-w.Decided()
		if a := l.Settle(now, w); a != Admitted {
			b.Fatal(a)
		}
	}
}

// The cheapest refusal: by rank, with the limit reached.
func BenchmarkShed(b *testing.B) {
	l := New(Config{Max: 4})
	now := int64(1e12)
	for range 4 {
		l.Enter(now, Request{})
	}
	l.over.level, l.over.last = 1, now
	l.below.Store(l.over.below())
	b.ReportAllocs()
	for b.Loop() {
		if a, _ := l.Enter(now, Request{Priority: Bulk}); a != Shed {
			b.Fatal(a)
		}
	}
}

// A full queue: the oldest is pushed out by the newest.
func BenchmarkPushedOut(b *testing.B) {
	l := New(Config{Max: 1, Queue: 64})
	now := int64(1e12)
	l.Enter(now, Request{})
	var ring [64]*Waiter
	for i := range ring {
		_, ring[i] = l.Enter(now, Request{Priority: Critical})
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		_, w := l.Enter(now, Request{Priority: Critical})
		l.Settle(now, ring[i])
		ring[i] = w
		i = (i + 1) % len(ring)
	}
}
