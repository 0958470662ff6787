package balance_test

import (
	"container/heap"
	"fmt"
	"time"

	"stoa/internal/engine/balance"
)

const (
	ms   = int64(time.Millisecond)
	sec  = int64(time.Second)
	t0   = 1_000_000 * sec
	warm = t0 - 3600*sec // when members were added that are long there
)

// answer says how an endpoint answers a request that comes at now.
type answer func(now int64, inflight int64) (took time.Duration, failed bool)

func after(d time.Duration) answer {
	return func(int64, int64) (time.Duration, bool) { return d, false }
}

func failing(d time.Duration) answer {
	return func(int64, int64) (time.Duration, bool) { return d, true }
}

// world is a pool under requests that come at an even pace, in a time of its own.
type world struct {
	now     int64
	set     *balance.Set
	answers []answer
	key     func(n int) uint64
	got     []int // requests by endpoint
	most    []int64
	refused int
	n       int
	busy    ends
}

func newWorld(cfg balance.Config, answers ...answer) *world {
	w := &world{now: t0, answers: answers, key: func(int) uint64 { return 0 }}
	w.set = balance.NewSet(cfg, olds(len(answers)), ids(len(answers)), nil)
	w.reset()
	return w
}

func (w *world) reset() {
	w.got, w.most = make([]int, len(w.answers)), make([]int64, len(w.answers))
}

// run lets requests come every gap for d.
func (w *world) run(d, gap time.Duration) {
	for until := w.now + int64(d); w.now < until; w.now += int64(gap) {
		for len(w.busy) > 0 && w.busy[0].at <= w.now {
			e := heap.Pop(&w.busy).(end)
			e.m.End(e.at, e.took, e.failed)
		}
		i, _ := w.set.Pick(w.now, w.key(w.n), nil)
		w.n++
		if i < 0 {
			w.refused++
			continue
		}
		m := w.set.Member(i)
		held := m.Begin()
		took, failed := w.answers[i](w.now, held)
		heap.Push(&w.busy, end{w.now + int64(took), m, took, failed})
		w.got[i]++
		w.most[i] = max(w.most[i], held)
	}
}

func (w *world) share(i int) float64 {
	sum := 0
	for _, n := range w.got {
		sum += n
	}
	return float64(w.got[i]) / float64(max(sum, 1))
}

type end struct {
	at     int64
	m      *balance.Member
	took   time.Duration
	failed bool
}

type ends []end

func (h ends) Len() int           { return len(h) }
func (h ends) Less(i, j int) bool { return h[i].at < h[j].at }
func (h ends) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *ends) Push(x any)        { *h = append(*h, x.(end)) }
func (h *ends) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func olds(n int) []*balance.Member {
	var all []*balance.Member
	for range n {
		all = append(all, balance.NewMember(warm))
	}
	return all
}

func ids(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("orders/%d", i))
	}
	return all
}

// shares picks n times and gives what part each got.
func shares(s *balance.Set, now int64, n int, key func(int) uint64, tried *balance.Tried) []float64 {
	out := make([]float64, s.Len())
	for k := range n {
		if i, _ := s.Pick(now, key(k), tried); i >= 0 {
			out[i] += 1 / float64(n)
		}
	}
	return out
}

func anyKey(k int) uint64 { return balance.Hash(fmt.Sprint("key ", k)) }
