package app

import (
	"runtime"

	"stoa/internal/door/httpapi"
	"stoa/internal/ground/journal"
	"stoa/internal/ground/meter"
)

// meters are the series of the platform itself.
type meters struct {
	operations  meter.Counters
	opSeconds   meter.Histograms
	journalOps  meter.Counters
	journalTime meter.Histograms
	journalSize meter.Counters
}

func newMeters(r *meter.Registry, p *Platform) meters {
	r.GaugeFunc(meter.Desc{Name: "stoa_process_goroutines", Help: "Goroutines of the platform."}, func() float64 { return float64(runtime.NumGoroutine()) })
	r.GaugeFunc(meter.Desc{Name: "stoa_process_heap_bytes", Help: "Bytes of live heap objects of the platform.", Unit: "bytes"}, func() float64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	})
	r.GaugeFunc(meter.Desc{Name: "stoa_store_revision", Help: "The revision in force."}, func() float64 { return float64(p.Store.State().Revision) })
	r.GaugeFunc(meter.Desc{Name: "stoa_store_documents", Help: "Documents in force."}, func() float64 { return float64(len(p.Store.State().Docs)) })
	return meters{
		operations:  r.Counter(meter.Desc{Name: "stoa_api_operations_total", Help: "Operations asked for, by outcome: ok, or the kind of the fault.", Labels: []string{"operation", "outcome"}}),
		opSeconds:   r.Histogram(meter.Desc{Name: "stoa_api_operation_duration_seconds", Help: "How long operations took.", Unit: "seconds", Labels: []string{"operation"}}),
		journalOps:  r.Counter(meter.Desc{Name: "stoa_journal_calls_total", Help: "Calls of the journal, by outcome.", Labels: []string{"call", "outcome"}}),
		journalTime: r.Histogram(meter.Desc{Name: "stoa_journal_call_duration_seconds", Help: "How long calls of the journal took; an append includes its sync.", Unit: "seconds", Labels: []string{"call"}}),
		journalSize: r.Counter(meter.Desc{Name: "stoa_journal_bytes_total", Help: "Bytes written to and read from the journal.", Unit: "bytes", Labels: []string{"call"}}),
	}
}

// operation counts one operation of the API.
func (m meters) operation(r httpapi.Record) {
	outcome := string(r.Outcome)
	if outcome == "" {
		outcome = "ok"
	}
	m.operations.With(r.Op, outcome).Add(1)
	m.opSeconds.With(r.Op).Observe(int64(r.Took))
}

// call counts one call of the journal.
func (m meters) call(c journal.Call) {
	outcome := "ok"
	if c.Err != nil {
		outcome = "error"
	}
	m.journalOps.With(c.Op, outcome).Add(1)
	m.journalTime.With(c.Op).Observe(int64(c.Took))
	m.journalSize.With(c.Op).Add(uint64(c.Bytes))
}
