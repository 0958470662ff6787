package balance_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/balance"
)

var policies = []string{balance.EWMA, balance.Least, balance.RoundRobin, balance.Ring, balance.Maglev}

func keyed(by string) balance.Config {
	c := balance.Config{By: by}
	if by == balance.Ring || by == balance.Maglev {
		c.Key = "client"
	}
	return c
}

func TestConfigCheck(t *testing.T) {
	for _, c := range []struct {
		cfg  balance.Config
		want string // paths
	}{
		{balance.Config{}, ""},
		{balance.Config{By: "ewma", SlowStart: -1, Panic: -1}, ""},
		{balance.Config{By: "maglev", Key: "header:X-Tenant"}, ""},
		{balance.Config{By: "ring", Key: "cookie:sid"}, ""},
		{balance.Config{By: "ring", Key: "path", SlowStart: time.Hour, Panic: 100}, ""},
		{balance.Config{By: "random"}, "by"},
		{balance.Config{By: "ring"}, "key"},
		{balance.Config{By: "ring", Key: "header:"}, "key"},
		{balance.Config{By: "ring", Key: "header:a b"}, "key"},
		{balance.Config{By: "ring", Key: "Client"}, "key"},
		{balance.Config{Key: "client"}, "key"},
		{balance.Config{Key: strings.Repeat("x", 1000)}, "key"},
		{balance.Config{SlowStart: 2 * time.Hour, Panic: 101}, "slowStart panic"},
	} {
		var paths []string
		c.cfg.Check(func(path, text, hint string) {
			paths = append(paths, path)
			if text == "" || hint == "" || len(text) > 200 {
				t.Errorf("%+v: %s: text %q, hint %q", c.cfg, path, text, hint)
			}
		})
		if got := strings.Join(paths, " "); got != c.want {
			t.Errorf("%+v: problems at %q, want %q", c.cfg, got, c.want)
		}
		b, err := json.Marshal(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		var back balance.Config
		if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, c.cfg) {
			t.Errorf("%+v came back from JSON as %+v, %v", c.cfg, back, err)
		}
	}
}

// Nodes of all versions agree on where a key belongs.
func TestHashIsTheSameForEver(t *testing.T) {
	for _, c := range []struct {
		key  string
		want uint64
	}{
		{"", 0xd6c6d6484777cbf9},
		{"a", 0x46e930468960e2fe},
		{"10.0.0.7", 0x2629244fe9216801},
		{"tenant-4711-of-the-north", 0xeb8a6d0115f09faf},
	} {
		if got := balance.Hash(c.key); got != c.want {
			t.Errorf("Hash(%q) = %#x, want %#x", c.key, got, c.want)
		}
		if balance.Hash([]byte(c.key)) != balance.Hash(c.key) {
			t.Errorf("Hash of the bytes of %q differs", c.key)
		}
	}
	seen := map[uint64]string{}
	for i := range 50_000 {
		k := fmt.Sprintf("user-%d", i)
		if other, ok := seen[balance.Hash(k)]; ok {
			t.Fatalf("%s and %s have one hash", k, other)
		}
		seen[balance.Hash(k)] = k
	}
}

// Whatever the policy, equal endpoints get equal shares.
func TestEqualsGetEqualShares(t *testing.T) {
	for _, by := range policies {
		for _, n := range []int{1, 2, 3, 10} {
			s := balance.NewSet(keyed(by), olds(n), ids(n), nil)
			for i, got := range shares(s, t0, 10_000, anyKey, nil) {
				if want := 1 / float64(n); got < want*0.7 || got > want*1.3 {
					t.Errorf("%s, %d members: member %d has %.3f, want %.3f", by, n, i, got, want)
				}
			}
		}
	}
}

// Weights hold among idle and equal endpoints.
func TestWeights(t *testing.T) {
	for _, by := range policies {
		for _, weights := range [][]int{{1, 3}, {1, 3, 1, 3}, {5, 1, 1}, {1, 2, 3, 4, 0, -7, 6}} {
			n, sum := len(weights), 0
			for _, w := range weights {
				sum += max(w, 1)
			}
			s := balance.NewSet(keyed(by), olds(n), ids(n), weights)
			for i, got := range shares(s, t0, 10_000, anyKey, nil) {
				if want := float64(max(weights[i], 1)) / float64(sum); got < want*0.6 || got > want*1.5 {
					t.Errorf("%s, weights %v: member %d has %.3f, want %.3f", by, weights, i, got, want)
				}
			}
		}
	}
}

func TestNobody(t *testing.T) {
	for _, by := range policies {
		s := balance.NewSet(keyed(by), nil, nil, nil)
		if i, again := s.Pick(t0, 1, nil); i != -1 || again != 0 || s.Panicking(t0) {
			t.Errorf("%s: an empty set picks %d, again at %d", by, i, again)
		}
	}
}

// An endpoint that refuses connections gets nothing while another accepts, also in panic;
// if all refuse, Pick says when the first may be asked.
func TestWhoRefusesIsPassedOver(t *testing.T) {
	for _, by := range policies {
		for _, n := range []int{1, 2, 5} {
			ms := olds(n)
			s := balance.NewSet(keyed(by), ms, ids(n), nil)
			for k, m := range ms[1:] {
				m.Suspect(t0 + sec + int64(k))
			}
			for i, got := range shares(s, t0, 2000, anyKey, nil) {
				if i > 0 && got > 0 {
					t.Errorf("%s: %d of %d refuses and has %.3f", by, i, n, got)
				}
			}
			ms[0].Eject(t0 + 100*sec) // the last that accepts
			if i, _ := s.Pick(t0, 7, nil); i != 0 {
				t.Errorf("%s, %d members: picks %d, want 0, the only one that accepts", by, n, i)
			}
			ms[0].Suspect(t0 + 5*sec)
			want := t0 + sec
			if n == 1 {
				want = t0 + 5*sec
			}
			if i, again := s.Pick(t0, 7, nil); i != -1 || again != want {
				t.Errorf("%s, %d members, all refuse: picks %d, again after %v, want %v", by, n, i, time.Duration(again-t0), time.Duration(want-t0))
			}
			if i, _ := s.Pick(want, 7, nil); i < 0 {
				t.Errorf("%s: nobody at the time it gave", by)
			}
		}
	}
}

func TestRefusalsBackOff(t *testing.T) {
	m := balance.NewMember(t0)
	for i, want := range []int64{20, 40, 80, 160, 320, 500, 500, 500} {
		m.Refused(t0)
		if got := m.SuspectUntil(t0); got != t0+want*ms {
			t.Errorf("refusal %d: suspect for %v, want %d ms", i+1, time.Duration(got-t0), want)
		}
	}
	if m.Usable(t0) || !m.Usable(t0+500*ms) {
		t.Error("it is usable when suspect, or not when it no longer is")
	}
	m.Connected()
	if !m.Usable(t0) {
		t.Error("it connected and is suspect")
	}
	m.Refused(t0)
	if got := m.SuspectUntil(t0); got != t0+20*ms {
		t.Errorf("after a connection the back-off begins with %v, want 20 ms", time.Duration(got-t0))
	}
}

// A retry goes elsewhere while there is an elsewhere.
func TestRetriesGoElsewhere(t *testing.T) {
	for _, by := range policies {
		ms := olds(4)
		s := balance.NewSet(keyed(by), ms, ids(4), nil)
		for k := range 300 {
			var tried balance.Tried
			var order []int
			for range 4 {
				i, _ := s.Pick(t0, uint64(k), &tried)
				if slices.Contains(order, i) {
					t.Fatalf("%s: picks %d after %v", by, i, order)
				}
				order = append(order, i)
				tried.Add(ms[i])
			}
			if i, _ := s.Pick(t0, uint64(k), &tried); i < 0 {
				t.Fatalf("%s: all were tried and nobody is left", by)
			}
		}
		// A usable one that was tried is better than an ejected one that was not.
		ms[3].Eject(t0 + sec)
		var tried balance.Tried
		tried.Add(ms[0])
		tried.Add(ms[1])
		tried.Add(ms[2])
		for k := range 300 {
			if i, _ := s.Pick(t0, uint64(k), &tried); i == 3 {
				t.Fatalf("%s: picks the ejected one", by)
			}
		}
	}
}

func TestTried(t *testing.T) {
	var none *balance.Tried
	if none.Has(nil) || none.Len() != 0 {
		t.Error("nil has tried something")
	}
	var tr balance.Tried
	all := olds(11)
	for i, m := range all {
		if tr.Has(m) {
			t.Errorf("has %d before it was added", i)
		}
		tr.Add(m)
	}
	for i, m := range all {
		if got, want := tr.Has(m), i >= 3; got != want {
			t.Errorf("of 11, has %d: %v, want %v", i, got, want)
		}
	}
}

// Ejected ones get nothing until too few are left: then all get their share, and it shows.
func TestPanic(t *testing.T) {
	for _, by := range policies {
		ms := olds(10)
		s := balance.NewSet(keyed(by), ms, ids(10), nil)
		for out := range 11 {
			if out > 0 {
				ms[out-1].Eject(t0 + sec)
			}
			panicking := out > 5
			if s.Panicking(t0) != panicking {
				t.Errorf("%d of 10 ejected: panicking %v, want %v", out, !panicking, panicking)
			}
			for i, got := range shares(s, t0, 4000, anyKey, nil) {
				want := 1 / float64(10-out)
				if panicking {
					want = 0.1
				} else if i < out {
					want = 0
				}
				if got < want*0.4 || got > want*2 {
					t.Errorf("%s, %d of 10 ejected: member %d has %.3f, want %.3f", by, out, i, got, want)
				}
			}
		}
		if s.Panicking(t0 + sec) {
			t.Errorf("%s: panicking when all are back", by)
		}
		never := balance.NewSet(balance.Config{By: by, Key: keyed(by).Key, Panic: -1}, ms, ids(10), nil)
		ms[9].Eject(0)
		if i, _ := never.Pick(t0, 3, nil); i != 9 || never.Panicking(t0) {
			t.Errorf("%s without panic picks %d, want 9, the only one in service", by, i)
		}
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	for _, by := range policies {
		all := olds(10)
		s := balance.NewSet(keyed(by), all, ids(10), []int{1, 2})
		for _, m := range all[:6] {
			m.Eject(t0 + sec) // the long way: panic and scan
		}
		now := t0
		if n := testing.AllocsPerRun(1000, func() {
			var tried balance.Tried
			i, _ := s.Pick(now, uint64(now), &tried)
			m := s.Member(i)
			tried.Add(m)
			m.Begin()
			i, _ = s.Pick(now, uint64(now), &tried)
			_ = i
			m.End(now, time.Millisecond, false)
			now += 2 * ms
		}); n != 0 {
			t.Errorf("%s: %v allocations per pick", by, n)
		}
	}
}
