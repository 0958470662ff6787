package rate

import (
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
)

func BenchmarkTake(b *testing.B) {
	l := limit(b, Config{Rate: parse(b, "1000000/s")})
	var c Cell
	now := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 2000
		l.Take(&c, now)
	}
}

func BenchmarkTakeContended(b *testing.B) {
	l := limit(b, Config{Rate: parse(b, "1000000/s")})
	var c Cell
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for now := int64(0); p.Next(); now += 2000 {
			l.Take(&c, now)
		}
	})
}

func BenchmarkKeyedKnown(b *testing.B) {
	l := limit(b, Config{Rate: parse(b, "50/s")})
	var k Keyed
	key := []byte("5f2d0c0e-a-key-of-a-client")
	now := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 2e7
		k.TakeBytes(l, key, now)
	}
}

func BenchmarkKeyedMany(b *testing.B) {
	l := limit(b, Config{Rate: parse(b, "1/h")})
	var k Keyed
	keys := make([]string, 40_000)
	for i := range keys {
		keys[i] = "key-" + strconv.Itoa(i)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		k.Take(l, keys[i], int64(i))
		i = (i + 1) % len(keys)
	}
}

func BenchmarkKeyedAddrParallel(b *testing.B) {
	l := limit(b, Config{Rate: parse(b, "50/s")})
	var k Keyed
	var seq atomic.Uint32
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		n := seq.Add(1)
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})
		for now := int64(0); p.Next(); now += 2e7 {
			k.TakeAddr(l, a, now)
		}
	})
}

func BenchmarkFields(b *testing.B) {
	l := limit(b, Config{Rate: parse(b, "50/s")})
	var c Cell
	v := l.Take(&c, 0)
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		buf = l.AppendFields(buf[:0], v)
	}
}
