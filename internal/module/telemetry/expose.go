package telemetry

import (
	"net/http"
	"strconv"
	"strings"

	"stoa/internal/engine/hop"
	"stoa/internal/ground/meter"
)

// expose answers a scraper in the format that it prefers of the two.
func (m *Module) expose(w http.ResponseWriter, r *http.Request) {
	write, kind := m.o.Meters.Expose, meter.ContentType
	if prefersOpen(r.Header.Values("Accept")) {
		write, kind = m.o.Meters.ExposeOpen, meter.OpenContentType
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Vary", "Accept")
	_ = write(w) // the caller has gone
}

// prefersOpen says whether these Accept fields name OpenMetrics, of version 1 or none, and
// text not before it. Who accepts anything gets text. RFC 9110, section 12.5.1.
func prefersOpen(accept []string) bool {
	var open, text float64
	for _, field := range accept {
		for one := range strings.SplitSeq(field, ",") {
			kind, params, _ := strings.Cut(one, ";")
			q, old := 1.0, false
			for p := range strings.SplitSeq(params, ";") {
				name, v, _ := strings.Cut(strings.TrimSpace(p), "=")
				switch strings.ToLower(name) {
				case "q":
					q, _ = strconv.ParseFloat(v, 64) // what is no number is 0: not wanted
				case "version":
					old = !strings.HasPrefix(strings.Trim(v, `"`), "1.")
				}
			}
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "application/openmetrics-text":
				if !old {
					open = max(open, q)
				}
			case "text/plain":
				text = max(text, q)
			}
		}
	}
	return open > 0 && open >= text
}

// exemplify makes a hop whose trace is kept the exemplar of those that took as long.
func (r *rates) exemplify(rec *hop.Record) {
	if rec.Trace.IsZero() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	of := way{rec.Caller, rec.Callee, rec.Route}
	if r.times[of] == nil {
		r.meet() // it is of a series that came since the last look
	}
	if t := r.times[of]; t != nil {
		t.series.Exemplify(meter.Exemplar{Value: int64(rec.Duration), Trace: rec.Trace.String(), At: rec.Start.Add(rec.Duration)})
	}
}
