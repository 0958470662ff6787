package flow

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/rate"
	"stoa/internal/engine/snapshot"
)

// hourly is a rate of n an hour: what is spent in a test does not come back.
func hourly(n int64, per rate.Per) rate.Config {
	return rate.Config{Rate: rate.Rate{N: n, Per: time.Hour}, Per: per}
}

// passes says whether a request of one user passes.
func passes(t testing.TB, p *Plane, user string) bool {
	var x Exchange
	arrive(t, &x, p, "in", said{"X-User": user})
	_, f := x.Admit(AtOnce)
	if f != nil {
		if f.Reason != hop.Rate || f.Retry <= 0 {
			t.Errorf("refused: %+v", f)
		}
		x.Refuse(f, "", "")
	}
	x.Finish()
	return f == nil
}

// A request that one rate refuses spends nothing of the others, whichever it is.
func TestRefusedRequestsSpendNothing(t *testing.T) {
	for _, rates := range [][]rate.Config{
		{hourly(3, ""), hourly(1, "header:X-User")},
		{hourly(1, "header:X-User"), hourly(3, "")},
		{hourly(9, "client"), hourly(1, "header:X-User"), hourly(3, "")},
	} {
		p := plane(t, snapshot.Policy{Rates: rates}, snapshot.Upstream{})
		if !passes(t, p, "a") {
			t.Fatal("the first was refused")
		}
		for range 20 {
			if passes(t, p, "a") {
				t.Fatal("a second of the same user passed")
			}
		}
		for user, want := range map[string]bool{"b": true, "c": true} {
			if passes(t, p, user) != want {
				t.Errorf("%v: what was refused has spent of the other rates", rates)
			}
		}
		if passes(t, p, "d") {
			t.Error("a fourth passed, of three for all")
		}
	}
}

// Of several that refuse, the one that does so longest is told.
func TestTheLongestRefusalIsTold(t *testing.T) {
	minutely := rate.Config{Rate: rate.Rate{N: 1, Per: time.Minute}}
	for _, rates := range [][]rate.Config{{minutely, hourly(1, "")}, {hourly(1, ""), minutely}} {
		p := plane(t, snapshot.Policy{Rates: rates}, snapshot.Upstream{})
		passes(t, p, "a")
		var x Exchange
		arrive(t, &x, p, "in", said{})
		if _, f := x.Admit(AtOnce); f == nil || f.Retry <= 3000 || f.Retry > 3600 {
			t.Errorf("%+v, want a refusal for nearly an hour", f)
		}
		x.Finish()
	}
}

// However many come at one moment, no rate lets more pass than it allows, and none is spent on
// who was refused.
func TestRatesTogetherUnderContention(t *testing.T) {
	const users, each, all = 8, 5, 30
	p := plane(t, snapshot.Policy{Rates: []rate.Config{hourly(all, ""), hourly(each, "header:X-User")}}, snapshot.Upstream{})
	var passed atomic.Int64
	var lives sync.WaitGroup
	for u := range users {
		lives.Go(func() {
			for range 4 * each {
				if passes(t, p, string(rune('a'+u))) {
					passed.Add(1)
				}
			}
		})
	}
	lives.Wait()
	for u := range users { // who was refused for another's race tries again
		for passes(t, p, string(rune('a'+u))) {
			passed.Add(1)
		}
	}
	if passed.Load() != all {
		t.Errorf("%d passed, want %d", passed.Load(), all)
	}
}
