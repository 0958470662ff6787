package telemetry

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"text/tabwriter"
	"time"

	"stoa/api/core"
	"stoa/api/telemetry"
)

// top gives the traffic of the moment, once or every second.
func (m *Module) top(ctx context.Context, in telemetry.TopIn) (iter.Seq2[telemetry.TopOut, error], error) {
	return func(yield func(telemetry.TopOut, error) bool) {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			now := m.o.Now()
			m.look(now)
			if !yield(telemetry.TopOut{At: core.At(now), Edges: m.rates.all(now), Guards: m.guards.all(now, in.All, m.rates.service), All: in.All}, nil) || !in.Follow {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

func printTop(w io.Writer, t telemetry.TopOut) {
	fmt.Fprintf(w, "%s, over the last %d s\n", t.At.Local().Format(time.TimeOnly), window)
	var idle int
	edges := slices.DeleteFunc(slices.Clone(t.Edges), func(e telemetry.EdgeRate) bool {
		if t.All || e.Rate > 0 {
			return false
		}
		idle++
		return true
	})
	defer printGuards(w, t.Guards, t.All)
	switch {
	case len(t.Edges) == 0:
		fmt.Fprintln(w, "No request yet.")
		return
	case len(edges) == 0:
		fmt.Fprintf(w, "No request in this time. What passed before: stoa top -a (%d)\n", idle)
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "FROM\tTO\tREQ/S\tERRORS\tP50\tP99\tTOTAL")
	for _, e := range edges {
		fmt.Fprintf(tw, "%s\t%s\t%.1f\t%.1f%%\t%.1fms\t%.1fms\t%d\n", e.From, e.To, e.Rate, 100*e.ErrorRate, e.P50Millis, e.P99Millis, e.Total)
	}
	tw.Flush()
	if idle > 0 {
		fmt.Fprintf(w, "Idle now: %d more; stoa top -a shows them\n", idle)
	}
}
