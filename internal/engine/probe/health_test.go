package probe_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/probe"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// tell replays a story: words are r+ r- l+ l- (an answer to ready or live, good or bad),
// "Nx" before one for N times, and @D to move the clock to D after the start. Answers
// take no time; the clock moves to when each is due. It gives the phases passed through,
// each with its time. With a live probe, a story says every time itself.
func tell(t *testing.T, p probe.Plan, story string) string {
	t.Helper()
	now := t0
	h := probe.Begin(now)
	told := []string{string(h.Phase)}
	for word := range strings.FieldsSeq(story) {
		if d, ok := strings.CutPrefix(word, "@"); ok {
			at, err := time.ParseDuration(d)
			if err != nil {
				t.Fatal(err)
			}
			now = t0.Add(at)
			continue
		}
		n := 1
		if k, rest, ok := strings.Cut(word, "x"); ok {
			if _, err := fmt.Sscan(k, &n); err != nil {
				t.Fatal(err)
			}
			word = rest
		}
		which := map[byte]probe.Which{'r': probe.Ready, 'l': probe.Live}[word[0]]
		for range n {
			if due, at := h.Due(p); due == which && at.After(now) {
				now = at
			}
			was := h.Phase
			reason := map[byte]string{'+': "", '-': "bad " + string(which)}[word[1]]
			h = h.After(p, which, reason, now)
			if h.Phase != was {
				told = append(told, fmt.Sprintf("%s@%v", h.Phase, now.Sub(t0)))
			}
		}
	}
	return strings.Join(told, " ")
}

func TestHealth(t *testing.T) {
	plan := probe.DefaultPlan()
	live := plan
	live.Live = true
	careful := plan
	careful.OK = 2
	for _, tc := range []struct {
		name  string
		plan  probe.Plan
		story string
		want  string
	}{
		{"nothing has answered", plan, "", "starting"},
		{"the first good answer starts it", plan, "r+", "starting ready@0s"},
		{"it is asked every 500 ms until then", plan, "4xr- r+", "starting ready@2s"},
		{"a minute is too long", plan, "121xr-", "starting late@1m0s"},
		{"the last moment is not", plan, "120xr- r+", "starting ready@1m0s"},
		{"late is final", plan, "121xr- 9xr+", "starting late@1m0s"},
		{"two bad answers change nothing", plan, "r+ 2xr- r+ 2xr- r+", "starting ready@0s"},
		{"the third takes it out", plan, "r+ 3xr-", "starting ready@0s unready@15s"},
		{"one good answer takes it back", plan, "r+ 3xr- r+", "starting ready@0s unready@15s ready@20s"},
		{"unready is not final, however long", plan, "r+ 999xr- r+", "starting ready@0s unready@15s ready@1h23m20s"},
		{"with OK 2, one good answer is not enough", careful, "r+ r- r+ r-", "starting"},
		{"with OK 2, two are", careful, "r+ r+ 3xr- r+ r- r+ r+", "starting ready@500ms unready@15.5s ready@35.5s"},
		{"live is not asked at the start", live, "9xl- r- r+", "starting ready@500ms"},
		{"three bad answers of live are the end", live, "r+ @5s l- @10s l- @15s l+ @20s l- @25s l- @30s l- l+ r+", "starting ready@0s dead@30s"},
		{"unready by one, dead by the other", live, "r+ r- @10s r- @15s r- @20s 3xl-", "starting ready@0s unready@15s dead@20s"},
		{"live was not declared", plan, "r+ 9xl-", "starting ready@0s"},
		{"the answers of one question do not count for the other", live, "r+ r- l- r- l- r+ l+", "starting ready@0s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tell(t, tc.plan, tc.story); got != tc.want {
				t.Errorf("%q\n got %s\nwant %s", tc.story, got, tc.want)
			}
		})
	}
}

func TestHealthTellsTheReason(t *testing.T) {
	p := probe.DefaultPlan()
	p.Live = true
	h := probe.Begin(t0).After(p, probe.Ready, "refused", t0)
	if h.Reason != "refused" || h.Of != probe.Ready {
		t.Errorf("reason is %q of %q, want refused of ready", h.Reason, h.Of)
	}
	if h = h.After(p, probe.Ready, "", t0); h.Reason != "" || h.Of != "" {
		t.Errorf("reason is %q of %q after a good answer, want none", h.Reason, h.Of)
	}
	h = h.After(p, probe.Live, "stuck", t0).After(p, probe.Ready, "", t0)
	if h.Reason != "stuck" || h.Of != probe.Live {
		t.Errorf("reason is %q of %q, want stuck of live", h.Reason, h.Of)
	}
	if got := h.WellFor(t0.Add(time.Minute)); got != time.Minute {
		t.Errorf("well for %v, want a minute", got)
	}
	h = h.After(p, probe.Live, "stuck", t0).After(p, probe.Ready, "refused", t0).After(p, probe.Live, "stuck", t0)
	if h.Phase != probe.Dead || h.Reason != "stuck" || h.WellFor(t0.Add(time.Hour)) != 0 {
		t.Errorf("health is %+v, want dead of stuck", h)
	}
	if which, _ := h.Due(p); which != "" {
		t.Errorf("due is %q in a final phase, want nothing", which)
	}
}

// Over any answers: a phase changes only as it may, only in a plan's numbers, and what
// is due lies in the future of the last answer to it.
func TestHealthOverAnyAnswers(t *testing.T) {
	may := map[probe.Phase]string{
		probe.Starting: "ready late", probe.Well: "unready dead", probe.Unready: "ready dead",
	}
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := probe.DefaultPlan()
		p.Live, p.Fail, p.OK = r.IntN(2) == 0, 1+r.IntN(3), 1+r.IntN(2)
		h, now, bad := probe.Begin(t0), t0, map[probe.Which]int{}
		for range 200 {
			which, at := h.Due(p)
			if which == "" {
				break
			}
			if at.After(now) {
				now = at
			}
			now = now.Add(time.Duration(r.IntN(1000)) * time.Millisecond)
			reason := ""
			if r.IntN(3) > 0 {
				reason = "bad"
				bad[which]++
			} else {
				bad[which] = 0
			}
			was := h.Phase
			h = h.After(p, which, reason, now)
			if h.Phase != was && !strings.Contains(may[was], string(h.Phase)) {
				t.Fatalf("seed %d: %s became %s", seed, was, h.Phase)
			}
			if h.Phase == probe.Dead && (!p.Live || bad[probe.Live] < p.Fail) ||
				h.Phase != was && h.Phase == probe.Unready && bad[probe.Ready] < p.Fail {
				t.Fatalf("seed %d: %s after %v bad answers in a row, want %d", seed, h.Phase, bad, p.Fail)
			}
			if h.Phase == probe.Starting && now.Sub(t0) >= p.StartFor && reason != "" {
				t.Fatalf("seed %d: still starting after %v", seed, now.Sub(t0))
			}
			if next, at := h.Due(p); next == which && !at.After(now) {
				t.Fatalf("seed %d: %s is due at %v, not after %v", seed, next, at, now)
			}
		}
	}
}
