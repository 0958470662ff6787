package telemetry

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"stoa/internal/ground/meter"
)

// A scraper gets the format it prefers; who names none gets text.
func TestFormatOfMetrics(t *testing.T) {
	for _, c := range []struct {
		accept []string
		open   bool
	}{
		{nil, false},
		{[]string{"*/*"}, false},
		{[]string{"application/openmetrics-text"}, true},
		{[]string{"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.2"}, true},
		{[]string{"application/vnd.google.protobuf;q=0.7", " Application/OpenMetrics-Text ; q=0.5"}, true},
		{[]string{"application/openmetrics-text;version=0.0.1"}, false},
		{[]string{"application/openmetrics-text;q=0"}, false},
		{[]string{"application/openmetrics-text;q=0.3,text/plain;q=0.5"}, false},
		{[]string{"application/openmetrics-text;q=x"}, false},
	} {
		if got := prefersOpen(c.accept); got != c.open {
			t.Errorf("Accept %q: OpenMetrics %v, want %v", c.accept, got, c.open)
		}
	}
}

// The trace of a request that is kept is the exemplar of its duration.
func TestKeptTracesAreExemplars(t *testing.T) {
	reg := meter.New()
	m, f := New(Options{Meters: reg}), newTraffic(reg)
	f.pass("web", "orders", "", "2xx", time.Millisecond)
	m.keep(record(7, 1, 0, "web", "orders", 0, time.Millisecond, 200))
	m.keep(record(7, 1, 0, "web", "nobody counted", 0, time.Millisecond, 200))
	for accept, want := range map[string]bool{"": false, "application/openmetrics-text": true} {
		req, rec := httptest.NewRequest("GET", "/metrics", nil), httptest.NewRecorder()
		req.Header.Set("Accept", accept)
		m.expose(rec, req)
		const exemplar = ` # {trace_id="07000000000000000000000000000000"} 0.001 `
		if got := strings.Contains(rec.Body.String(), exemplar); got != want || strings.Contains(rec.Header().Get("Content-Type"), "openmetrics") != want {
			t.Errorf("Accept %q: exemplar %v, want %v; %s", accept, got, want, rec.Header())
		}
	}
}
