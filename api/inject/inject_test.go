package inject_test

import (
	"encoding/json"
	"testing"

	"stoa/api/inject"
)

// A share is read with and without its sign, and none that would mean nothing or too much.
func TestPercent(t *testing.T) {
	for text, want := range map[string]string{
		"30": "30%", "30%": "30%", "0.5": "0.5%", "100": "100%", "1e1": "10%",
		"": "", "0": "", "0%": "", "-1": "", "100.1": "", "NaN": "", "+Inf": "", "thirty": "", "%": "", "30%%": "",
	} {
		var p inject.Percent
		err := p.UnmarshalText([]byte(text))
		if (err == nil) != (want != "") || err == nil && p.String() != want {
			t.Errorf("%q gives %v, %v; want %q", text, p, err, want)
		}
	}
	b, err := json.Marshal(inject.FaultIn{Service: "web", Abort: 503, Percent: 12.5})
	if got, want := string(b), `{"service":"web","abort":503,"percent":"12.5%"}`; got != want || err != nil {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}
