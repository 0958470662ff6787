package rate

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const sec = int64(time.Second)

func limit(t testing.TB, c Config) *Limit {
	t.Helper()
	c.Check(func(path, text, hint string) { t.Errorf("%+v: %s: %s", c, path, text) })
	l, ok := c.Compile()
	if !ok {
		t.Fatalf("%+v limits nothing", c)
	}
	return &l
}

func parse(t testing.TB, s string) Rate {
	t.Helper()
	r, err := ParseRate(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRateText(t *testing.T) {
	for _, s := range []string{"50/s", "1000/m", "5/h", "10000/d", "1/s", "9223372036854775807/d"} {
		r := parse(t, s)
		if r.String() != s {
			t.Errorf("%s reads back as %s", s, r)
		}
	}
	for _, s := range []string{"", "50", "/s", "50/", "0/s", "-1/s", "+1/s", "1.5/s", "5/ms", "5/s ", " 5/s", "5/S", "9223372036854775808/s", "5/10s"} {
		if r, err := ParseRate(s); err == nil {
			t.Errorf("%q is read as %v", s, r)
		} else if !strings.Contains(err.Error(), "50/s") {
			t.Errorf("%q: %v shows no good form", s, err)
		}
	}
}

// A Config is what it was after a snapshot was saved and loaded.
func TestConfigJSON(t *testing.T) {
	for _, c := range []Config{{}, {Rate: parse(t, "50/s")}, {Rate: parse(t, "5/h"), Burst: 2, Per: "header:X-Key", Legacy: true}} {
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back Config
		if err := json.Unmarshal(b, &back); err != nil || back != c {
			t.Errorf("%s reads back as %+v, %v", b, back, err)
		}
	}
	if b, _ := json.Marshal(Config{}); string(b) != "{}" {
		t.Errorf("the zero value is %s", b)
	}
	if _, err := json.Marshal(Config{Rate: Rate{5, 7 * time.Second}}); err == nil {
		t.Error("a rate that has no text is written")
	}
}

func TestCheck(t *testing.T) {
	r := parse(t, "50/s")
	for _, x := range []struct {
		c    Config
		want string // path of the one problem, or none
	}{
		{Config{}, ""},
		{Config{Rate: r}, ""},
		{Config{Rate: r, Per: "client", Burst: 1}, ""},
		{Config{Rate: r, Per: "cookie:sid"}, ""},
		{Config{Burst: 3}, "rate"},
		{Config{Rate: Rate{N: 5}}, "rate"},
		{Config{Rate: Rate{-5, time.Second}}, "rate"},
		{Config{Rate: parse(t, "1000001/s")}, "rate"},
		{Config{Rate: parse(t, "60000001/m")}, "rate"},
		{Config{Rate: r, Burst: -1}, "burst"},
		{Config{Rate: parse(t, "1/d"), Burst: 1000}, "burst"},
		{Config{Rate: r, Per: "clients"}, "per"},
		{Config{Rate: r, Per: "client:x"}, "per"},
		{Config{Rate: r, Per: "header:"}, "per"},
		{Config{Rate: r, Per: "header:a b"}, "per"},
	} {
		var got []string
		x.c.Check(func(path, text, hint string) {
			got = append(got, path)
			if text == "" || hint == "" {
				t.Errorf("%+v: %s: text %q, hint %q", x.c, path, text, hint)
			}
		})
		if strings.Join(got, " ") != x.want {
			t.Errorf("%+v: problems at %q, want %q", x.c, got, x.want)
		}
	}
}

func TestPer(t *testing.T) {
	for _, x := range []struct {
		per  Per
		from Source
		name string
	}{{"", All, ""}, {"client", Client, ""}, {"header:X-Key", Header, "X-Key"}, {"cookie:sid", Cookie, "sid"}} {
		l := limit(t, Config{Rate: parse(t, "1/s"), Per: x.per})
		if from, name := l.Source(); from != x.from || name != x.name {
			t.Errorf("%q: %v %q", x.per, from, name)
		}
	}
}

// Stories of one cell: at each moment (milliseconds) one request; + passed, - refused.
func TestTake(t *testing.T) {
	for _, x := range []struct {
		rate  string
		burst int
		story string
	}{
		{"10/s", 1, "0+ 0- 99- 100+ 150- 200+ 1000+ 1050- 1100+"},
		{"10/s", 3, "0+ 0+ 0+ 0- 99- 100+ 100- 200+ 1000+ 1000+ 1000+ 1000-"},
		{"5/h", 0, "0+ 1+ 2+ 3+ 4+ 5- 719999- 720000+ 720001-"},
		{"60/m", 2, "0+ 0+ 0- 999- 1000+ 1000- 9000+ 9000+ 9000-"},
	} {
		l := limit(t, Config{Rate: parse(t, x.rate), Burst: x.burst})
		for _, start := range []int64{0, 1, 1e18} {
			var c Cell
			for _, s := range strings.Fields(x.story) {
				ms, err := strconv.ParseInt(s[:len(s)-1], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				if v := l.Take(&c, start+ms*1e6); v.OK != strings.HasSuffix(s, "+") {
					t.Errorf("%s burst %d from %d: at %s: %+v", x.rate, x.burst, start, s, v)
				}
			}
		}
	}
}

// Retry is exact: one nanosecond before it a request is refused, at it one passes. Remaining
// is exact as well: as many pass at this moment, and no more.
func TestVerdictIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, rate := range []string{"7/s", "1000/m", "999/h", "1000000/s", "3/d"} {
		for _, burst := range []int{0, 1, 2, 100} {
			l := limit(t, Config{Rate: parse(t, rate), Burst: burst})
			var c Cell
			now := int64(5)
			for range 2000 {
				now += r.Int64N(2 * l.step)
				v := l.Take(&c, now)
				if !v.OK {
					if v.Retry <= 0 || v.Remaining != 0 {
						t.Fatalf("%s burst %d: refused with %+v", rate, burst, v)
					}
					early := Cell{}
					early.back.Store(c.back.Load())
					if l.Take(&early, now+int64(v.Retry)-1).OK || !l.Take(&early, now+int64(v.Retry)).OK {
						t.Fatalf("%s burst %d: Retry %v is not exact", rate, burst, v.Retry)
					}
					continue
				}
				if burst == 100 || burst == 0 {
					continue
				}
				twin := Cell{}
				twin.back.Store(c.back.Load())
				n := int64(0)
				for l.Take(&twin, now).OK {
					n++
				}
				if n != v.Remaining {
					t.Fatalf("%s burst %d: %d remaining, %d pass", rate, burst, v.Remaining, n)
				}
				twin.back.Store(c.back.Load())
				if fresh := l.Take(&twin, now+int64(v.Reset)); fresh.Remaining != l.burst-1 {
					t.Fatalf("%s burst %d: %d remain after Reset, want %d", rate, burst, fresh.Remaining, l.burst-1)
				}
			}
		}
	}
}

// In no span of time does more pass than burst + rate x span, whatever the arrivals.
func TestNeverMoreThanDeclared(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, rate := range []string{"7/s", "333/s", "1000/m"} {
		l := limit(t, Config{Rate: parse(t, rate), Burst: 20})
		per := float64(l.declared.N) / float64(l.declared.Per)
		var c Cell
		var passed []int64
		now := int64(0)
		for range 20_000 {
			switch r.IntN(100) {
			case 0:
				now += r.Int64N(20 * l.step)
			default:
				now += r.Int64N(l.step)
			}
			if l.Take(&c, now).OK {
				passed = append(passed, now)
			}
		}
		for i := range passed {
			for _, span := range []int{1, 19, 20, 21, 100, 1000} {
				if j := i + span; j < len(passed) {
					if most := 20 + per*float64(passed[j]-passed[i]); float64(span+1) > most+1e-6 {
						t.Fatalf("%s: %d pass in %v", rate, span+1, time.Duration(passed[j]-passed[i]))
					}
				}
			}
		}
		if got, want := float64(len(passed)), per*float64(now); got < 0.97*want {
			t.Errorf("%s: %v pass in the long run, want %v", rate, got, want)
		}
	}
}

// Concurrent callers together get what one would.
func TestConcurrentCallers(t *testing.T) {
	l := limit(t, Config{Rate: parse(t, "1000/s"), Burst: 100})
	var c Cell
	var k Keyed
	var one, keyed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range int64(10_000) {
				if l.Take(&c, i*1000).OK { // 10 ms in all
					one.Add(1)
				}
				if k.Take(l, "k", i*1000).OK {
					keyed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	// The callers' clocks run apart, so what came back may be seen late, never twice.
	for _, n := range []int64{one.Load(), keyed.Load()} {
		if n < 100 || n > 110 {
			t.Errorf("%d passed, want 100 to 110", n)
		}
	}
}

// A changed Config keeps the time of the debt, within the new burst, and never locks out.
func TestChangedConfig(t *testing.T) {
	slow := limit(t, Config{Rate: parse(t, "5/h")})
	fast := limit(t, Config{Rate: parse(t, "50/s")})
	var c Cell
	for slow.Take(&c, sec).OK {
	}
	if v := fast.Take(&c, sec); v.OK || v.Retry != 20*time.Millisecond {
		t.Errorf("slow to fast: %+v, want refused for one step", v)
	}
	if v := fast.Take(&c, sec+2*sec); v.OK {
		t.Errorf("slow to fast, 2 s later: %+v", v) // the debt of an hour is still there, held at the new burst
	}
	c = Cell{}
	for fast.Take(&c, sec).OK {
	}
	if v := slow.Take(&c, sec); !v.OK || v.Remaining != 3 {
		t.Errorf("fast to slow: %+v, want 3 left", v)
	}
}

func TestFields(t *testing.T) {
	for _, x := range []struct {
		c    Config
		take int
		want string
	}{
		{Config{Rate: parse(t, "100/m")}, 50, "RateLimit-Policy: \"default\";q=100;w=60\r\nRateLimit: \"default\";r=50;t=30\r\n"},
		{Config{Rate: parse(t, "50/s")}, 51, "RateLimit-Policy: \"default\";q=50;w=1\r\nRateLimit: \"default\";r=0;t=1\r\nRetry-After: 1\r\n"},
		{Config{Rate: parse(t, "5/h"), Burst: 2, Legacy: true}, 3, "RateLimit-Policy: \"default\";q=5;w=3600\r\nRateLimit: \"default\";r=0;t=1440\r\n" +
			"X-RateLimit-Limit: 2\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1440\r\nRetry-After: 720\r\n"},
	} {
		l := limit(t, x.c)
		var c Cell
		var v Verdict
		for range x.take {
			v = l.Take(&c, 0)
		}
		b := l.AppendFields(nil, v)
		if string(b) != x.want {
			t.Errorf("%+v after %d:\n%swant\n%s", x.c, x.take, b, x.want)
		}
		if len(b) > 200 {
			t.Errorf("%d bytes", len(b))
		}
		h, lines := http.Header{}, http.Header{}
		for name, value := range l.Fields(v) {
			h[http.CanonicalHeaderKey(name)] = []string{value}
			if !strings.Contains(string(b), name+": ") {
				t.Errorf("%s is spelled otherwise in %q", name, b)
			}
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(string(b), "\r\n"), "\r\n") {
			name, value, _ := strings.Cut(line, ": ")
			lines.Add(name, value)
		}
		if !reflect.DeepEqual(h, lines) {
			t.Errorf("as values %v, as lines %v", h, lines)
		}
		for range l.Fields(v) {
			break // a caller may stop
		}
	}
}

// Keys have quotas of their own, whatever the form in which they come.
func TestKeys(t *testing.T) {
	l := limit(t, Config{Rate: parse(t, "1/s"), Burst: 2})
	var k Keyed
	if !k.Take(l, "a", 0).OK || !k.TakeBytes(l, []byte("a"), 0).OK || k.Take(l, "a", 0).OK {
		t.Error("a string and the same bytes are two keys")
	}
	if !k.Take(l, "b", 0).OK || !k.Take(l, "", 0).OK {
		t.Error("a key pays for another")
	}
	if n := k.Len(1); n != 3 {
		t.Errorf("%d keys owe, want 3", n)
	}
	if n := k.Len(2 * sec); n != 0 {
		t.Errorf("%d keys owe after all came back", n)
	}
}

func TestAddresses(t *testing.T) {
	l := limit(t, Config{Rate: parse(t, "1/h"), Burst: 1})
	for _, x := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1", "::ffff:10.0.0.1", true},
		{"10.0.0.1", "10.0.0.2", false},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
		{"2001:db8:1:2::1", "2001:db8:2:2::1", false},
	} {
		var k Keyed
		k.TakeAddr(l, netip.MustParseAddr(x.a), 0)
		if same := !k.TakeAddr(l, netip.MustParseAddr(x.b), 0).OK; same != x.same {
			t.Errorf("%s and %s: one client %v, want %v", x.a, x.b, same, x.same)
		}
	}
}

// Up to some thousands of keys, each is limited for itself: none is forgotten.
func TestManyKeysAreKept(t *testing.T) {
	l := limit(t, Config{Rate: parse(t, "1/h"), Burst: 1})
	var k Keyed
	key := func(i int) string { return "key-" + strconv.Itoa(i) }
	const n = 10_000
	for i := range n {
		if !k.Take(l, key(i), 0).OK {
			t.Fatalf("%s pays for another", key(i))
		}
	}
	for i := range n {
		if k.Take(l, key(i), 1).OK {
			t.Fatalf("%s was forgotten", key(i))
		}
	}
	if c := cells(&k); c > 4*n {
		t.Errorf("%d cells for %d keys", c, n)
	}
}

// An attacker who invents keys, ten for each place, does not push out who owes more than
// one request, nor grows the memory past its bound.
func TestInventedKeys(t *testing.T) {
	l := limit(t, Config{Rate: parse(t, "60/h"), Burst: 10})
	var k Keyed
	const real = 1000
	for i := range real {
		for range 10 {
			k.Take(l, "real-"+strconv.Itoa(i), 0)
		}
	}
	for i := range 10 * MaxKeys {
		k.Take(l, "invented-"+strconv.Itoa(i), int64(i))
	}
	for i := range real {
		if k.Take(l, "real-"+strconv.Itoa(i), sec).OK {
			t.Fatalf("real-%d was forgotten", i)
		}
	}
	if c := cells(&k); c != MaxKeys {
		t.Errorf("%d cells, want %d", c, MaxKeys)
	}
}

// Who owns an IPv6 /48 pushes out hardly anybody else, even one who owes less.
func TestInventedNetworks(t *testing.T) {
	slow := limit(t, Config{Rate: parse(t, "1/d"), Burst: 10})
	var k Keyed
	v4 := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
	const real = 10_000
	for i := range real {
		k.TakeAddr(slow, v4(i), 0)
	}
	a := netip.MustParseAddr("2001:db8::1").As16()
	for i := range 1 << 16 {
		a[6], a[7] = byte(i>>8), byte(i)
		for range 10 {
			k.TakeAddr(slow, netip.AddrFrom16(a), sec)
		}
	}
	forgotten := 0
	for i := range real {
		if v := k.TakeAddr(slow, v4(i), 2*sec); v.Remaining != 8 {
			forgotten++
		}
	}
	if forgotten > MaxKeysPerPrefix {
		t.Errorf("%d of %d clients were forgotten, want at most %d", forgotten, real, MaxKeysPerPrefix)
	}
	if n := k.Len(2 * sec); n > real+MaxKeysPerPrefix {
		t.Errorf("%d keys owe: the network has more than %d", n, MaxKeysPerPrefix)
	}
}

func cells(k *Keyed) (n int) {
	for i := range k.shards {
		n += len(k.shards[i].sets) * ways
	}
	return n
}

// A known key, an address and the fields cost no allocation.
func TestNoAllocation(t *testing.T) {
	l := limit(t, Config{Rate: parse(t, "50/s"), Legacy: true})
	var c Cell
	var k Keyed
	key, addr, b := []byte("key"), netip.MustParseAddr("2001:db8::1"), make([]byte, 0, 256)
	k.TakeBytes(l, key, 0)
	k.TakeAddr(l, addr, 0)
	now := int64(0)
	if n := testing.AllocsPerRun(100, func() {
		now += 1e6
		l.Take(&c, now)
		k.TakeBytes(l, key, now)
		b = l.AppendFields(b[:0], k.TakeAddr(l, addr, now))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"50/s", "1000/m", "5/h", "", "/", "1/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRate(s)
		if err != nil {
			return
		}
		if again, err := ParseRate(r.String()); err != nil || again != r {
			t.Errorf("%q reads as %v, which reads as %v, %v", s, r, again, err)
		}
		c := Config{Rate: r}
		fine := true
		c.Check(func(string, string, string) { fine = false })
		if l, ok := c.Compile(); !ok || fine && (l.step < 1 || l.whole < l.step) {
			t.Errorf("%q: %+v, %v", s, l, ok)
		}
	})
}

// Who asks takes nothing, and what was taken and given back is as if it had never been taken.
func TestPeekAndReturn(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, text := range []string{"7/s", "1000/m", "1000000/s"} {
		l := limit(t, Config{Rate: parse(t, text), Burst: 3})
		var c, same Cell // the same, asked the same without what is given back
		var k Keyed
		tag := TagOf("a")
		now := int64(5)
		for range 5000 {
			now += r.Int64N(2 * l.step)
			want := l.Take(&same, now)
			if got := l.Peek(&c, now); got != want || k.Peek(l, tag, now) != want {
				t.Fatalf("%s: peeked %+v, %+v, want %+v", text, got, k.Peek(l, tag, now), want)
			}
			for range 2 { // taken, and given back
				if v := l.Take(&c, now); v.OK {
					l.Return(&c, v, 0)
				}
				if v := k.TakeTag(l, tag, now); v.OK {
					k.Return(l, tag, v, 0)
				}
			}
			if got := l.Take(&c, now); got != want || k.TakeTag(l, tag, now) != want {
				t.Fatalf("%s: took %+v, want %+v", text, got, want)
			}
		}
	}
}

// What comes back late has come back by itself in part, and nobody else's is given back.
func TestReturnLate(t *testing.T) {
	l := limit(t, Config{Rate: parse(t, "10/s"), Burst: 2})
	const ms = int64(time.Millisecond)
	for _, x := range []struct {
		at, want int64 // ms: when it is given back, and the debt of a request at 100 ms then
	}{{0, 100}, {40, 100}, {100, 100}, {500, 100}} {
		var c Cell
		first := l.Take(&c, 0)
		l.Take(&c, 100*ms) // another's
		l.Return(&c, first, time.Duration(max(x.at, 100)*ms))
		if got := c.back.Load() - 100*ms; got != x.want*ms {
			t.Errorf("given back after %d ms: a debt of %d ms, want %d", x.at, got/ms, x.want)
		}
	}
	var c Cell
	first, second := l.Take(&c, 0), l.Take(&c, 0)
	l.Return(&c, first, 30*time.Millisecond)
	if got := c.back.Load(); !second.OK || got != 130*ms { // 30 ms are kept: rather too few pass than too many
		t.Errorf("back at %d ms, want 130", got/ms)
	}
}

// A key that was not known is not remembered for having been asked of, and one that was
// forgotten gets nothing back.
func TestPeekRemembersNothing(t *testing.T) {
	l := limit(t, Config{Rate: parse(t, "1/h")})
	var k Keyed
	if v := k.Peek(l, TagOf("a"), 1); !v.OK || k.Len(1) != 0 || k.shards[uint64(TagOf("a"))%shards].sets != nil {
		t.Errorf("%+v, %d keys", v, k.Len(1))
	}
	k.Return(l, TagOf("a"), Verdict{OK: true, Reset: time.Hour}, 0)
	if v := k.TakeTag(l, TagOf("a"), 1); !v.OK || v.Remaining != 0 {
		t.Errorf("%+v", v)
	}
	if v := k.Take(l, "a", 1); v.OK {
		t.Error("a tag is another key")
	}
}
