package balance_test

import (
	"fmt"
	"testing"
	"time"

	"stoa/internal/engine/balance"
)

func BenchmarkPick(b *testing.B) {
	for _, by := range policies {
		for _, n := range []int{3, 100} {
			b.Run(fmt.Sprintf("%s/%d", by, n), func(b *testing.B) {
				s := balance.NewSet(keyed(by), olds(n), ids(n), nil)
				now := t0
				for i := range n {
					s.Member(i).Begin()
					s.Member(i).Observe(t0, time.Millisecond, false)
				}
				b.ReportAllocs()
				for b.Loop() {
					now += 10_000
					i, _ := s.Pick(now, uint64(now), nil)
					if now%(1<<20) < 10_000*16 { // a part of the answers
						s.Member(i).Observe(now, time.Millisecond, false)
					}
				}
			})
		}
	}
	b.Run("ewma/100/panic", func(b *testing.B) {
		s := balance.NewSet(balance.Config{}, olds(100), nil, nil)
		for i := range 80 {
			s.Member(i).Eject(t0 + 1e18)
		}
		b.ReportAllocs()
		for b.Loop() {
			s.Pick(t0, 0, nil)
		}
	})
}

// BenchmarkAttempt is all that a request asks of the package.
func BenchmarkAttempt(b *testing.B) {
	s := balance.NewSet(balance.Config{}, olds(10), nil, nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := t0
		for pb.Next() {
			now += 10_000
			i, _ := s.Pick(now, 0, nil)
			m := s.Member(i)
			m.Begin()
			m.End(now, time.Millisecond, false)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	for b.Loop() {
		balance.Hash("tenant-4711-of-the-north")
	}
}
