package balance_test

import (
	"math"
	"testing"
	"time"

	"stoa/internal/engine/balance"
)

// The remembered latency rises at once and falls by e^(-dt/tau), with samples and without.
func TestPeakEWMA(t *testing.T) {
	near := func(what string, got, want time.Duration) {
		t.Helper()
		if math.Abs(float64(got-want)) > 0.01*float64(want)+1 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	m := balance.NewMember(t0)
	if m.Latency(t0) != 0 || m.Cost(t0) != 0 {
		t.Error("something is known of an endpoint that was never asked")
	}
	m.Begin()
	m.End(t0, 10*time.Millisecond, false)
	near("one sample", m.Latency(t0), 10*time.Millisecond)
	m.Observe(t0, 50*time.Millisecond, false)
	near("a higher one counts at once", m.Latency(t0), 50*time.Millisecond)
	m.Observe(t0, 10*time.Millisecond, false)
	near("a lower one at the same time does not", m.Latency(t0), 50*time.Millisecond)
	e := math.Exp(-1)
	near("without samples", m.Latency(t0+10*sec), time.Duration(float64(50*time.Millisecond)*e))
	m.Observe(t0+10*sec, 10*time.Millisecond, false)
	near("a lower one after tau", m.Latency(t0+10*sec), time.Duration(float64(50*time.Millisecond)*e+float64(10*time.Millisecond)*(1-e)))
	m.Observe(t0, time.Millisecond, false) // from the past
	if m.Latency(t0+10*sec) <= 0 {
		t.Error("a sample out of order broke it")
	}
	m.Begin()
	m.Begin()
	near("cost", time.Duration(m.Cost(t0)), 3*m.Latency(t0))
	if m.Inflight() != 2 || m.Done() != 1 {
		t.Error("places do not add up")
	}
}

// A failure never makes an endpoint look faster, several in a row make it look like a second.
func TestFailuresCost(t *testing.T) {
	m := balance.NewMember(t0)
	m.Observe(t0, 2*time.Millisecond, false)
	for i, want := range []time.Duration{20 * time.Millisecond, 200 * time.Millisecond, time.Second, time.Second} {
		m.Observe(t0, 100*time.Microsecond, true)
		if got := m.Latency(t0); math.Abs(float64(got-want)) > 0.01*float64(want) {
			t.Errorf("failure %d: %v, want %v", i+1, got, want)
		}
	}
	m.Observe(t0, 7*time.Second, true)
	if got := m.Latency(t0); got < 6900*time.Millisecond {
		t.Errorf("a failure that took 7 s counts as %v", got)
	}
	m = balance.NewMember(t0)
	m.Observe(t0, time.Microsecond, true)
	if got := m.Latency(t0); got < 990*time.Millisecond {
		t.Errorf("the first answer is a failure and counts as %v, want 1s", got)
	}
}

// A slow endpoint gets less, by how slow it is, and its part back when it is well.
func TestSlowGetsLess(t *testing.T) {
	for _, by := range []string{balance.EWMA, balance.Least} {
		slow := 100 * time.Millisecond
		w := newWorld(balance.Config{By: by}, after(5*time.Millisecond), after(5*time.Millisecond),
			func(int64, int64) (time.Duration, bool) { return slow, false })
		w.run(20*time.Second, time.Millisecond)
		w.reset()
		w.run(20*time.Second, time.Millisecond)
		if got := w.share(2); got > 0.2 {
			t.Errorf("%s: the slow of three has %.3f, want far below 0.33", by, got)
		}
		slow = 5 * time.Millisecond
		w.run(90*time.Second, time.Millisecond)
		w.reset()
		w.run(20*time.Second, time.Millisecond)
		if got := w.share(2); got < 0.15 {
			t.Errorf("%s: it is well again and has %.3f, want about 0.33", by, got)
		}
	}
	// ewma sees it where little is in flight, least does not.
	w := newWorld(balance.Config{}, after(5*time.Millisecond), after(50*time.Millisecond))
	w.run(20*time.Second, 100*time.Millisecond)
	if got := w.share(1); got > 0.15 {
		t.Errorf("the slow of two idle ones has %.3f", got)
	}
}

// Answering 503 in no time draws no requests.
func TestFastFailureAttractsNothing(t *testing.T) {
	for _, n := range []int{2, 3, 10} {
		for _, gap := range []time.Duration{time.Millisecond, 20 * time.Millisecond} {
			answers := []answer{failing(200 * time.Microsecond)}
			for range n - 1 {
				answers = append(answers, after(20*time.Millisecond))
			}
			w := newWorld(balance.Config{}, answers...)
			w.run(60*time.Second, gap)
			if got := w.share(0); got > 0.25/float64(n) {
				t.Errorf("%d endpoints, a request per %v: the failing one has %.4f", n, gap, got)
			}
		}
	}
	// The same for one that was well before, and that is back from half a minute of ejection.
	broken := false
	w := newWorld(balance.Config{}, func(int64, int64) (time.Duration, bool) {
		if broken {
			return 100 * time.Microsecond, true
		}
		return 10 * time.Millisecond, false
	}, after(10*time.Millisecond), after(10*time.Millisecond))
	w.run(20*time.Second, time.Millisecond)
	w.set.Member(0).Eject(w.now + 40*sec)
	w.run(40*time.Second, time.Millisecond)
	broken = true
	w.reset()
	w.run(20*time.Second, time.Millisecond)
	if got := w.share(0); got > 0.03 {
		t.Errorf("back from ejection it fails and has %.4f", got)
	}
}

// Where all fail alike, all keep their share, and none starves.
func TestErrorsEverywhere(t *testing.T) {
	for _, percent := range []int{1, 30, 100} {
		k := 0
		some := func(int64, int64) (time.Duration, bool) {
			k++
			return 5 * time.Millisecond, k*7919%100 < percent
		}
		w := newWorld(balance.Config{}, some, some, some)
		w.run(120*time.Second, 2*time.Millisecond)
		for i := range w.got {
			if got := w.share(i); got < 0.1 || got > 0.6 {
				t.Errorf("%d %% fail everywhere: shares %.3f %.3f %.3f", percent, w.share(0), w.share(1), w.share(2))
				break
			}
		}
	}
}

// One failure costs an endpoint its share for less than a minute, not more.
func TestOneFailureIsForgiven(t *testing.T) {
	fail := false
	w := newWorld(balance.Config{}, func(int64, int64) (time.Duration, bool) {
		f := fail
		fail = false
		return 5 * time.Millisecond, f
	}, after(5*time.Millisecond))
	w.run(10*time.Second, 2*time.Millisecond)
	fail = true
	w.run(40*time.Second, 2*time.Millisecond)
	w.reset()
	w.run(20*time.Second, 2*time.Millisecond)
	if got := w.share(0); got < 0.2 {
		t.Errorf("40 s after one failure it has %.3f", got)
	}
}

// One that is not known, was away or answers nothing takes no burst.
func TestNewcomerTakesNoBurst(t *testing.T) {
	cfg := balance.Config{SlowStart: -1}
	answers := make([]answer, 5)
	for i := range answers {
		answers[i] = after(20 * time.Millisecond)
	}
	w := newWorld(cfg, answers...)
	w.run(30*time.Second, time.Millisecond)
	members := make([]*balance.Member, 0, 6)
	for i := range 5 {
		members = append(members, w.set.Member(i))
	}
	w.set = balance.NewSet(cfg, append(members, balance.NewMember(w.now)), ids(6), nil)
	w.answers = append(w.answers, after(20*time.Millisecond))
	w.reset()
	w.run(time.Second, time.Millisecond)
	if w.most[5] > 10 || w.share(5) > 0.3 {
		t.Errorf("the newcomer had %d at once and %.3f of all, its peers %v", w.most[5], w.share(5), w.most[:5])
	}
	w.set.Member(5).Eject(w.now + 60*sec)
	w.run(60*time.Second, time.Millisecond)
	w.reset()
	w.run(time.Second, time.Millisecond)
	if w.most[5] > 10 || w.share(5) > 0.3 || w.got[5] == 0 {
		t.Errorf("back from ejection it had %d at once and %.3f of all, its peers %v", w.most[5], w.share(5), w.most[:5])
	}
	w.answers[5] = after(10 * time.Minute) // it hangs
	w.reset()
	w.run(60*time.Second, time.Millisecond)
	if w.most[5] > 60 {
		t.Errorf("it hangs and holds %d after a minute", w.most[5])
	}
}

// Slow start: a tenth at first, all after the window, nothing of it when all are new.
func TestSlowStart(t *testing.T) {
	for _, by := range policies {
		for _, n := range []int{2, 5} {
			ms := append(olds(n-1), balance.NewMember(t0))
			c := keyed(by)
			if by == balance.Ring || by == balance.Maglev { // undeclared, keys stay where they are
				if got := shares(balance.NewSet(c, ms, ids(n), nil), t0, 8_000, anyKey, nil)[n-1]; got < 0.5/float64(n) {
					t.Errorf("%s, %d members: undeclared, a new one begins with %.3f", by, n, got)
				}
				c.SlowStart = balance.DefaultSlowStart
			}
			s := balance.NewSet(c, ms, ids(n), nil)
			var ramp []float64
			for _, at := range []int64{0, 1, 3, 5, 8, 10, 100} {
				f := min(max(float64(at)/10, 0.1), 1)
				got := shares(s, t0+at*sec, 8_000, anyKey, nil)[n-1]
				want := f / (float64(n-1) + f)
				if by == balance.Ring || by == balance.Maglev {
					want = f / float64(n)
				}
				if got < want*0.5 || got > want*1.6 {
					t.Errorf("%s, %d members: after %d s it has %.3f, want %.3f", by, n, at, got, want)
				}
				ramp = append(ramp, got)
			}
			if ramp[0] > ramp[3] || ramp[3] > ramp[5] {
				t.Errorf("%s: shares %.3f do not rise", by, ramp)
			}
			off := keyed(by)
			off.SlowStart = -1
			if got := shares(balance.NewSet(off, ms, ids(n), nil), t0, 8_000, anyKey, nil)[n-1]; got < 0.6/float64(n) {
				t.Errorf("%s without slow start: the newcomer has %.3f", by, got)
			}
			new := make([]*balance.Member, n)
			for i := range new {
				new[i] = balance.NewMember(t0)
			}
			s = balance.NewSet(keyed(by), new, ids(n), nil)
			for i, got := range shares(s, t0+sec, 8_000, anyKey, nil) {
				if got < 0.6/float64(n) || got > 1.5/float64(n) {
					t.Errorf("%s, all %d are new: %d has %.3f", by, n, i, got)
				}
			}
		}
	}
}
