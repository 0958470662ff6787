package probe_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/probe"
)

func TestRestarts(t *testing.T) {
	for _, tc := range []struct {
		name  string
		lives string // how long each instance was well before it died; it dies the moment it is not
		want  string // waits; ! after the verdict of a crash loop
	}{
		{"waits double", "0s 0s 0s 0s", "100ms 200ms 400ms 800ms"},
		{"five deaths in two minutes are a loop", "0s 0s 0s 0s 0s 0s", "100ms 200ms 400ms 800ms 1.6s! 3.2s!"},
		{"waits are bounded, and the verdict stays", "0s 0s 0s 0s 0s 0s 0s 0s 0s 0s 0s 0s 0s",
			"100ms 200ms 400ms 800ms 1.6s! 3.2s! 6.4s! 12.8s! 25.6s! 30s! 30s! 30s! 30s!"},
		{"ten seconds of health forgive", "0s 0s 0s 10s 0s", "100ms 200ms 400ms 100ms 200ms!"},
		{"a little less does not", "0s 0s 0s 9.9s", "100ms 200ms 400ms 800ms"},
		{"a loop is over after health, and its deaths forgotten", "0s 0s 0s 0s 0s 10s 0s", "100ms 200ms 400ms 800ms 1.6s! 100ms 200ms"},
		{"to die every 20 s is a loop as well", "20s 20s 20s 20s 20s 20s", "100ms 100ms 100ms 100ms 100ms! 100ms"},
		{"to die every minute is none", "60s 60s 60s 60s 60s 60s", "100ms 100ms 100ms 100ms 100ms 100ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r probe.Restarts
			var got []string
			now := t0
			for life := range strings.FieldsSeq(tc.lives) {
				d, err := time.ParseDuration(life)
				if err != nil {
					t.Fatal(err)
				}
				now = now.Add(d)
				var wait time.Duration
				r, wait = r.Died(now, d, 0)
				now = now.Add(wait)
				got = append(got, fmt.Sprint(wait)+map[bool]string{true: "!"}[r.Looping])
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("%s\n got %s\nwant %s", tc.lives, s, tc.want)
			}
		})
	}
}

func TestRestartsLeaveTheirPastAlone(t *testing.T) {
	var r probe.Restarts
	for range 7 {
		r, _ = r.Died(t0, 0, 0)
	}
	past := append([]time.Time(nil), r.Deaths...)
	_, _ = r.Died(t0.Add(time.Hour), 0, 0)
	_, _ = r.Died(t0.Add(time.Hour), time.Hour, 0)
	for i, d := range r.Deaths {
		if !d.Equal(past[i]) {
			t.Fatalf("deaths became %v, want %v", r.Deaths, past)
		}
	}
}

// Over any lives: a wait lies within a fifth under its curve, and never above its bound.
func TestWaitsAreWithinTheirBounds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var r probe.Restarts
	for now := t0; now.Sub(t0) < 100*time.Hour; {
		wellFor := time.Duration(rnd.Int64N(int64(12 * time.Second)))
		now = now.Add(wellFor)
		var wait time.Duration
		r, wait = r.Died(now, wellFor, rnd.Float64())
		if wait > r.Wait || wait < r.Wait*8/10-1 || r.Wait > probe.LongWait || r.Wait < probe.FirstWait || len(r.Deaths) > probe.LoopCount {
			t.Fatalf("wait is %v with %+v", wait, r)
		}
		now = now.Add(wait)
	}
}
