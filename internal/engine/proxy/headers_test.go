package proxy

import (
	"net/http"
	"slices"
	"testing"

	"stoa/internal/engine/flow"
)

// The dashboard's session does not reach a service; every other cookie arrives as it came.
func TestDropCookies(t *testing.T) {
	for _, c := range []struct{ in, want []string }{
		{nil, nil},
		{[]string{"a=1;  b=2"}, []string{"a=1;  b=2"}},
		{[]string{"stoa_session_7070=secret"}, nil},
		{[]string{"a=1; stoa_session_7070=secret; b=2"}, []string{"a=1; b=2"}},
		{[]string{"stoa_session_1=x;a=stoa_session_2", "c=3"}, []string{"a=stoa_session_2", "c=3"}},
	} {
		h := http.Header{}
		if c.in != nil {
			h["Cookie"] = slices.Clone(c.in)
		}
		dropCookies(h, flow.PrivateCookies)
		if got := h["Cookie"]; !slices.Equal(got, c.want) {
			t.Errorf("dropCookies(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}
