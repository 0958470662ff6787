package policy

import (
	"stoa/api/mesh"
	"stoa/internal/engine/balance"
	"stoa/internal/engine/breaker"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/outlier"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/snapshot"
)

// Upstream puts what is declared of the traffic of a service into one of its upstreams.
func Upstream(t mesh.Traffic, u *snapshot.Upstream) {
	u.Balance, u.Outliers, u.Breaker = balanceOf(t.Balance), outliersOf(t.Outliers), breakerOf(t.Breaker)
	u.Limit, u.Budget = limitOf(t.Concurrency), budgetOf(t.RetryBudget)
}

// CheckTraffic tells bad what is wrong with t, by the path of the field.
func CheckTraffic(t mesh.Traffic, bad func(path, text, hint string)) {
	for _, part := range []struct {
		field string
		check func(func(path, text, hint string))
	}{
		{"balance", balanceOf(t.Balance).Check}, {"outliers", outliersOf(t.Outliers).Check}, {"breaker", breakerOf(t.Breaker).Check},
		{"concurrency", limitOf(t.Concurrency).Check}, {"retryBudget", budgetOf(t.RetryBudget).Check},
	} {
		part.check(func(path, text, hint string) { bad(join(part.field, path), text, Phrase(hint)) })
	}
}

func balanceOf(b *mesh.Balance) balance.Config {
	if b == nil {
		return balance.Config{}
	}
	return balance.Config{By: b.By, Key: b.Key, SlowStart: atOnce(b.SlowStart), Panic: b.Panic}
}

func outliersOf(o *mesh.Outliers) outlier.Config {
	if o == nil {
		return outlier.Config{}
	}
	return outlier.Config{
		Off: o.Off, Consecutive: o.Consecutive, Gateway: o.Gateway, Local: o.Local, Sweep: o.Sweep.D(), Base: o.Base.D(), Cap: o.Cap.D(),
		MaxShare: o.MaxShare, MinHosts: o.MinHosts, MinRequests: o.MinRequests, Stdev: o.Stdev, FailurePercent: o.FailurePercent,
	}
}

func breakerOf(b *mesh.Breaker) breaker.Config {
	if b == nil {
		return breaker.Config{}
	}
	return breaker.Config{Off: b.Off, Window: b.Window.D(), Least: b.Least, Percent: b.Percent, Open: b.Open.D(), OpenMax: b.OpenMax.D(), Slow: b.Slow.D()}
}

func limitOf(c *mesh.Concurrency) limit.Config {
	if c == nil {
		return limit.Config{}
	}
	return limit.Config{
		Max: c.Max, Queue: c.Queue, Wait: c.Wait.D(), Adaptive: c.Adaptive, MinLimit: c.MinLimit, InitialLimit: c.InitialLimit, MaxLimit: c.MaxLimit,
	}
}

func budgetOf(b *mesh.RetryBudget) retry.BudgetConfig {
	if b == nil {
		return retry.BudgetConfig{}
	}
	return retry.BudgetConfig{Percent: b.Percent, Floor: b.Floor, Window: b.Window.D()}
}
