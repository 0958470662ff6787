package workload

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"stoa/api/core"
	"stoa/api/mesh"
)

// stagger is what Options.Stagger is if nobody says it.
const stagger = 10 * time.Second

// shutdown ends every instance, and waits for it. Callers end before what they use, so
// that what they are asked to finish can be finished:
//
//	gateways take nothing new ▶ services that no other uses ▶ those that they use ▶ ...
//
// The next turn comes when everything of the one before has ended, or after its share of
// Options.Stagger: what hangs holds up nobody for long, and keeps its own grace. All is
// over within Options.StopGrace; without it, within Stagger and the longest grace declared.
func (m *Module) shutdown() {
	m.mu.Lock()
	m.stopping = true
	began, window := time.Now(), cmp.Or(m.o.Stagger, stagger)
	if most := m.o.StopGrace; most > 0 {
		m.stopBy, window = began.Add(most), min(window, most/2)
	}
	all := maps.Clone(m.deployments)
	m.mu.Unlock()

	turns := order(callees(m.p.State(), slices.Collect(maps.Keys(all))))
	wait := func(turn int, over func(context.Context)) {
		ctx, cancel := context.WithDeadline(context.Background(), began.Add(window*time.Duration(turn+1)/time.Duration(max(1, len(turns)))))
		defer cancel()
		over(ctx)
	}
	wait(0, m.p.CloseGateways)
	for i, services := range turns {
		for _, name := range services {
			all[name].retireAll()
		}
		if i == len(turns)-1 {
			break
		}
		wait(i+1, func(ctx context.Context) {
			for _, name := range services {
				all[name].gone(ctx)
			}
		})
	}
	m.lives.Wait()
}

// gone waits until every slot of the deployment is over, or ctx ends.
func (d *deployment) gone(ctx context.Context) {
	d.mu.Lock()
	slots := slices.Clone(d.slots)
	d.mu.Unlock()
	for _, s := range slots {
		select {
		case <-s.gone:
		case <-ctx.Done():
		}
	}
}

// callees gives whom each of the services uses, among these services.
func callees(state core.State, services []string) map[string][]string {
	uses := map[string][]string{}
	for _, name := range services {
		uses[name] = nil
		for _, u := range mesh.UsesSection.Of(state.Docs[core.Ref{Kind: core.KindService, Name: name}]) {
			if u.Service != name && slices.Contains(services, u.Service) {
				uses[name] = append(uses[name], u.Service)
			}
		}
	}
	return uses
}

// order gives the services in turns, by their names in each: none comes before one that
// uses it. Where services use each other in a circle, the first by name begins.
func order(uses map[string][]string) (turns [][]string) {
	left := maps.Clone(uses)
	for len(left) > 0 {
		used := map[string]bool{}
		for _, callees := range left {
			for _, c := range callees {
				used[c] = true
			}
		}
		var turn []string
		for _, name := range slices.Sorted(maps.Keys(left)) {
			if !used[name] {
				turn = append(turn, name)
			}
		}
		if turn == nil { // a circle, and what it uses
			turn = []string{firstInCircle(left)}
		}
		for _, name := range turn {
			delete(left, name)
		}
		turns = append(turns, turn)
	}
	return turns
}

// firstInCircle gives the first service by name that only those use which it uses itself,
// if by way of others. There is one if every service is used by another.
func firstInCircle(uses map[string][]string) string {
	reach := map[string]map[string]bool{} // whom each uses, also by way of others
	for from := range uses {
		seen := map[string]bool{}
		next := slices.Clone(uses[from])
		for len(next) > 0 {
			at := next[len(next)-1]
			if next = next[:len(next)-1]; !seen[at] {
				seen[at] = true
				next = append(next, uses[at]...)
			}
		}
		reach[from] = seen
	}
	names := slices.Sorted(maps.Keys(uses))
	i := slices.IndexFunc(names, func(name string) bool {
		return !slices.ContainsFunc(names, func(other string) bool { return reach[other][name] && !reach[name][other] })
	})
	return names[max(0, i)]
}
