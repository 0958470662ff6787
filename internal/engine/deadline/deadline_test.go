package deadline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestParseGRPC(t *testing.T) {
	for _, c := range []struct {
		in   string
		want time.Duration
		ok   bool
	}{
		{"1H", time.Hour, true},
		{"2M", 2 * time.Minute, true},
		{"3S", 3 * time.Second, true},
		{"4m", 4 * time.Millisecond, true},
		{"5u", 5 * time.Microsecond, true},
		{"6n", 6, true},
		{"0n", 0, true},
		{"0H", 0, true},
		{"00000007S", 7 * time.Second, true},
		{"99999999n", 99999999, true},
		{"99999999u", 99999999 * time.Microsecond, true},
		{"99999999M", 99999999 * time.Minute, true},
		{"99999999H", None, true},
		{"2562047H", 2562047 * time.Hour, true},
		{"2562048H", None, true},
		{"123456789n", 0, false}, // nine digits
		{"000000001S", 0, false},
		{"", 0, false},
		{"S", 0, false},
		{"1", 0, false},
		{"1s", 0, false},
		{"1h", 0, false},
		{"1U", 0, false},
		{"1N", 0, false},
		{"-1S", 0, false},
		{"+1S", 0, false},
		{"1.5S", 0, false},
		{" 1S", 0, false},
		{"1S ", 0, false},
		{"1 S", 0, false},
		{"1_0S", 0, false},
		{"1S1S", 0, false},
		{"0x1S", 0, false},
		{"١S", 0, false},
	} {
		if got, ok := ParseGRPC([]byte(c.in)); got != c.want || ok != c.ok {
			t.Errorf("ParseGRPC(%q) = %v, %v, want %v, %v", c.in, got, ok, c.want, c.ok)
		}
	}
}

func TestParseMillis(t *testing.T) {
	for _, c := range []struct {
		in          string
		stoa, envoy time.Duration
		ok          bool
	}{
		{"1", time.Millisecond, time.Millisecond, true},
		{"0", 0, None, true},
		{"000", 0, None, true},
		{"15000", 15 * time.Second, 15 * time.Second, true},
		{"9223372036854", 9223372036854 * time.Millisecond, 9223372036854 * time.Millisecond, true},
		{"9223372036855", None, None, true},
		{"999999999999999", None, None, true},
		{"1000000000000000", 0, 0, false}, // sixteen digits
		{"", 0, 0, false},
		{"-1", 0, 0, false},
		{"+1", 0, 0, false},
		{"1.0", 0, 0, false},
		{"1e3", 0, 0, false},
		{" 1", 0, 0, false},
		{"1ms", 0, 0, false},
	} {
		if got, ok := ParseMillis([]byte(c.in)); got != c.stoa || ok != c.ok {
			t.Errorf("ParseMillis(%q) = %v, %v, want %v, %v", c.in, got, ok, c.stoa, c.ok)
		}
		if got, ok := ParseEnvoy([]byte(c.in)); got != c.envoy || ok != c.ok {
			t.Errorf("ParseEnvoy(%q) = %v, %v, want %v, %v", c.in, got, ok, c.envoy, c.ok)
		}
	}
}

func TestAppend(t *testing.T) {
	for _, c := range []struct {
		d          time.Duration
		grpc, stoa string
	}{
		{0, "0n", "0"},
		{-time.Second, "0n", "0"},
		{None, "", ""},
		{None - 1, "2562047H", "9223372036854"},
		{1, "1n", "0"},
		{999, "999n", "0"},
		{time.Microsecond, "1u", "0"},
		{1009, "1u", "0"},
		{1011, "1011n", "0"},
		{time.Millisecond, "1m", "1"},
		{1500 * time.Microsecond, "1500u", "1"},
		{299 * time.Millisecond, "299m", "299"},
		{299*time.Millisecond + 999*time.Microsecond, "299m", "299"},
		{1009 * time.Millisecond, "1S", "1009"},
		{1011 * time.Millisecond, "1011m", "1011"},
		{15 * time.Second, "15S", "15000"},
		{14999 * time.Millisecond, "14999m", "14999"},
		{99 * time.Second, "99S", "99000"},
		{60 * time.Second, "1M", "60000"},
		{101 * time.Minute, "101M", "6060000"},
		{100*time.Hour + 59*time.Minute, "100H", "363540000"},
		{24 * time.Hour, "24H", "86400000"},
	} {
		if got := string(AppendGRPC(nil, c.d)); got != c.grpc {
			t.Errorf("AppendGRPC(%v) = %q, want %q", c.d, got, c.grpc)
		}
		if got := string(AppendMillis([]byte("x"), c.d)); got != "x"+c.stoa {
			t.Errorf("AppendMillis(%v) = %q, want %q", c.d, got, "x"+c.stoa)
		}
	}
}

// sent checks what is sent of d: readable by the grammar, never longer than d, at most 1 %
// shorter, and in the largest unit for which that holds.
func sent(t *testing.T, d time.Duration) {
	t.Helper()
	b := AppendGRPC(nil, d)
	got, ok := ParseGRPC(b)
	if !ok || got > d || d-got > d/100 {
		t.Fatalf("AppendGRPC(%d ns) = %q, which reads as %d ns, %v", d, b, got, ok)
	}
	for _, u := range []struct {
		name byte
		unit time.Duration
	}{{'H', time.Hour}, {'M', time.Minute}, {'S', time.Second}, {'m', time.Millisecond}, {'u', time.Microsecond}, {'n', 1}} {
		if short := d - d/u.unit*u.unit; d >= u.unit && short <= d/100 {
			if b[len(b)-1] != u.name {
				t.Fatalf("AppendGRPC(%d ns) = %q, want unit %c, which loses %d ns", d, b, u.name, short)
			}
			break
		}
	}
	if ms, ok := ParseMillis(AppendMillis(nil, d)); !ok || ms > d || d-ms >= time.Millisecond {
		t.Fatalf("AppendMillis(%d ns) reads as %v, %v", d, ms, ok)
	}
}

func TestWhatIsSentIsNeverLonger(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		sent(t, time.Duration(1+rnd.Int64N(1<<(1+rnd.IntN(62)))))
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"1S", "99999999H", "0n", "15000", "007", "-1m"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, parse := range map[string]func([]byte) (time.Duration, bool){"grpc": ParseGRPC, "millis": ParseMillis, "envoy": ParseEnvoy} {
			d, ok := parse(b)
			if d < 0 || !ok && d != 0 {
				t.Errorf("%s of %q = %v, %v", name, b, d, ok)
			}
			if ok && d > 0 && d != None {
				sent(t, d)
			}
		}
	})
}

func TestTold(t *testing.T) {
	for _, c := range []struct {
		claim             string
		grpc, stoa, envoy string
		edge              bool
		want              time.Duration
	}{
		{"nobody says anything", "", "", "", false, None},
		{"one", "2S", "", "", false, 2 * time.Second},
		{"the shortest of all", "2S", "1500", "1000", false, time.Second},
		{"Envoy's is anyone's at the edge", "2S", "1500", "1000", true, 1500 * time.Millisecond},
		{"a caller from outside may shorten", "", "200", "", true, 200 * time.Millisecond},
		{"what cannot be read counts as none", "2s", "1.5", "x", false, None},
		{"what cannot be read hides no other", "2s", "100", "x", false, 100 * time.Millisecond},
		{"Envoy's zero is no timeout", "", "300", "0", false, 300 * time.Millisecond},
		{"ours is", "", "0", "300", false, 0},
	} {
		field := func(s string) []byte {
			if s == "" {
				return nil
			}
			return []byte(s)
		}
		if got := Told(field(c.grpc), field(c.stoa), field(c.envoy), c.edge); got != c.want {
			t.Errorf("%s: Told(%q, %q, %q, %v) = %v, want %v", c.claim, c.grpc, c.stoa, c.envoy, c.edge, got, c.want)
		}
	}
}

func TestEffective(t *testing.T) {
	for _, c := range []struct{ route, caller, want time.Duration }{
		{time.Second, None, time.Second},
		{time.Second, 2 * time.Second, time.Second},
		{time.Second, 10, 10},
		{time.Second, 0, 0},
		{None, time.Hour, time.Hour},
		{None, None, None},
	} {
		if got := Effective(c.route, c.caller); got != c.want {
			t.Errorf("Effective(%v, %v) = %v, want %v", c.route, c.caller, got, c.want)
		}
	}
}

func TestLeft(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, c := range []struct {
		claim      string
		until, now int64
		rtt        time.Duration
		want       time.Duration
		ok         bool
	}{
		{"a margin of 1 ms", 100 * ms, 40 * ms, 0, 59 * time.Millisecond, true},
		{"a short round trip is in it", 100 * ms, 40 * ms, 300 * time.Microsecond, 59 * time.Millisecond, true},
		{"a long one is the margin", 100 * ms, 40 * ms, 20 * time.Millisecond, 40 * time.Millisecond, true},
		{"exactly the margin is refused", 41 * ms, 40 * ms, 0, 0, false},
		{"a hair above it is not", 41*ms + 1, 40 * ms, 0, 1, true},
		{"below the round trip", 50 * ms, 40 * ms, 20 * time.Millisecond, 0, false},
		{"over", 40 * ms, 50 * ms, 0, 0, false},
		{"no deadline", Never, 50 * ms, time.Second, None, true},
		{"a negative now", 10 * ms, -10 * ms, 0, 19 * time.Millisecond, true},
		{"a negative round trip", 10 * ms, 0, -time.Second, 9 * time.Millisecond, true},
		{"far apart", math.MaxInt64 - 1, math.MinInt64 + 1, 0, None - 1 - time.Millisecond, true},
	} {
		if got, ok := Left(c.until, c.now, c.rtt); got != c.want || ok != c.ok {
			t.Errorf("%s: Left(%d, %d, %v) = %v, %v, want %v, %v", c.claim, c.until, c.now, c.rtt, got, ok, c.want, c.ok)
		}
	}
	for _, c := range []struct {
		now  int64
		d    time.Duration
		want int64
	}{{5, 7, 12}, {5, None, Never}, {-5, None, Never}, {math.MaxInt64 - 2, 3, Never}, {5, 0, 5}, {5, -7, -2}} {
		if got := At(c.now, c.d); got != c.want {
			t.Errorf("At(%d, %v) = %d, want %d", c.now, c.d, got, c.want)
		}
	}
}

// A chain of hops ends in the order of its callees: each has less than its caller.
func TestDeadlinesShrinkAlongAChain(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		left := time.Duration(rnd.Int64N(int64(2 * time.Second)))
		for hop := 0; ; hop++ {
			until := At(rnd.Int64N(1<<40), Effective(15*time.Second, left))
			pass, ok := Left(until, until-int64(left), time.Duration(rnd.Int64N(int64(5*time.Millisecond))))
			if !ok {
				break
			}
			if hop > 2000 {
				t.Fatalf("%v are never used up", left)
			}
			if told := Told(AppendGRPC(nil, pass), AppendMillis(nil, pass), nil, false); told > left-leastMargin {
				t.Fatalf("hop %d has %v left and tells %v", hop, left, told)
			} else {
				left = told
			}
		}
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		c    Config
		bad  string
		r, q time.Duration
	}{
		{Config{}, "", 15 * time.Second, 5 * time.Minute},
		{Config{Total: time.Second, Idle: time.Hour}, "", time.Second, time.Hour},
		{Config{Total: -1, Idle: -1}, "", None, None},
		{Config{Total: time.Millisecond}, "total", time.Millisecond, 5 * time.Minute},
		{Config{Total: 25 * time.Hour, Idle: 25 * time.Hour}, "total idle", 25 * time.Hour, 25 * time.Hour},
	} {
		var got string
		c.c.Check(func(path, text, hint string) {
			if text == "" || hint == "" {
				t.Errorf("%+v: a problem with %s says %q and advises %q", c.c, path, text, hint)
			}
			if got != "" {
				got += " "
			}
			got += path
		})
		if got != c.bad {
			t.Errorf("%+v: problems with %q, want %q", c.c, got, c.bad)
		}
		if r, q := c.c.Route(), c.c.Quiet(); r != c.r || q != c.q {
			t.Errorf("%+v: route %v, quiet %v, want %v, %v", c.c, r, q, c.r, c.q)
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	dst, g, m := make([]byte, 0, 64), []byte("299m"), []byte("299")
	if n := testing.AllocsPerRun(1000, func() {
		until := At(12345, Effective(time.Second, Told(g, m, m, false)))
		d, _ := Left(until, 23456, 0)
		dst = AppendMillis(AppendGRPC(dst[:0], d), d)
	}); n != 0 {
		t.Errorf("%v allocations per call, want 0", n)
	}
}

// What a hop does per request: read, shorten, pass on.
func BenchmarkHop(b *testing.B) {
	for _, d := range []string{"299m", "15S", "123456u"} {
		b.Run(fmt.Sprint(d), func(b *testing.B) {
			dst, g := make([]byte, 0, 64), []byte(d)
			b.ReportAllocs()
			for b.Loop() {
				until := At(12345, Effective(15*time.Second, Told(g, nil, nil, false)))
				left, _ := Left(until, 23456, 0)
				dst = AppendGRPC(dst[:0], left)
			}
		})
	}
}
