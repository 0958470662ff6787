package proxy

import (
	"net"
	"net/http"
	"net/textproto"
	"strings"

	"stoa/internal/engine/flow"
)

// hopByHop are the fields of one connection only. RFC 9110, section 7.6.1.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Transfer-Encoding", "Upgrade",
}

// removeHopByHop takes them away, and those that Connection names. It returns the name
// of a field that Connection must not name, or "".
func removeHopByHop(h http.Header) (bad string) {
	for _, f := range h["Connection"] {
		for name := range strings.SplitSeq(f, ",") {
			name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name))
			switch name {
			case "", "Close", "Keep-Alive", "Upgrade", "Te":
				continue
			case "Host", "Content-Length", "Content-Type", "Authorization", "Cookie", "Traceparent", "Tracestate":
				bad = name
			}
			if identity(name) {
				bad = name
			}
			delete(h, name)
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
	return bad
}

// identity says whether a field states who calls or from where, in any spelling: some
// servers read X_Forwarded_For as X-Forwarded-For.
func identity(name string) bool {
	if strings.IndexByte(name, '_') >= 0 {
		name = strings.ReplaceAll(name, "_", "-")
	}
	for _, p := range [...]string{"X-Forwarded-", "X-Envoy-", "Stoa-"} {
		if len(name) >= len(p) && strings.EqualFold(name[:len(p)], p) {
			return true
		}
	}
	return strings.EqualFold(name, "Forwarded") || strings.EqualFold(name, "X-Real-Ip") || strings.EqualFold(name, "X-Forwarded")
}

// wantsTrailers says whether TE names trailers, the one value that is passed on.
func wantsTrailers(h http.Header) bool {
	for _, f := range h["Te"] {
		for v := range strings.SplitSeq(f, ",") {
			if strings.EqualFold(textproto.TrimString(v), "trailers") {
				return true
			}
		}
	}
	return false
}

// upgradeOf gives the protocol that a message upgrades to, or "".
func upgradeOf(h http.Header) string {
	if len(h["Upgrade"]) == 0 {
		return ""
	}
	for _, f := range h["Connection"] {
		for v := range strings.SplitSeq(f, ",") {
			if strings.EqualFold(textproto.TrimString(v), "upgrade") {
				return h.Get("Upgrade")
			}
		}
	}
	return ""
}

// requestHeaders makes the header to send on from the one that came. Names keep the
// spelling of net/http; identity is believed only from inside.
func requestHeaders(in *http.Request, l *flow.Listener) (h http.Header, bad string) {
	h = in.Header.Clone()
	te := wantsTrailers(h)
	bad = removeHopByHop(h)
	if te {
		h["Te"] = []string{"trailers"}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // else net/http adds its own
	}
	if l.Edge() {
		for name := range h {
			if identity(name) {
				delete(h, name)
			}
		}
		dropCookies(h, flow.PrivateCookies)
		host, _, err := net.SplitHostPort(in.RemoteAddr)
		if err != nil {
			host = in.RemoteAddr
		}
		proto := "http"
		if in.TLS != nil {
			proto = "https"
		}
		h["X-Forwarded-For"] = []string{host}
		h["X-Forwarded-Proto"] = []string{proto}
		h["X-Forwarded-Host"] = []string{in.Host}
	} else {
		dropOwn(h)
	}
	return h, bad
}

// dropCookies takes the cookies whose name begins with prefix out of h and leaves the
// others as they came.
func dropCookies(h http.Header, prefix string) {
	fields := h["Cookie"]
	kept := fields[:0:0]
	changed := false
	for _, f := range fields {
		if !strings.Contains(f, prefix) {
			kept = append(kept, f)
			continue
		}
		var pairs []string
		for pair := range strings.SplitSeq(f, ";") {
			if pair = textproto.TrimString(pair); !strings.HasPrefix(pair, prefix) && pair != "" {
				pairs = append(pairs, pair)
			}
		}
		changed = true
		if len(pairs) > 0 {
			kept = append(kept, strings.Join(pairs, "; "))
		}
	}
	switch {
	case changed && len(kept) == 0:
		delete(h, "Cookie")
	case changed:
		h["Cookie"] = kept
	}
}

// dropOwn takes the fields away that only we may set, in a request and in an answer: who calls, why
// we answered, and what else Stoa-* says.
func dropOwn(h http.Header) {
	for name := range h {
		if len(name) > 5 && strings.EqualFold(name[:5], "Stoa-") {
			delete(h, name)
		}
	}
}

// trace continues the caller's trace or begins one, and puts our span into h. tracestate
// goes on only with the traceparent it belongs to.
func trace(h http.Header, fresh bool, x *flow.Exchange) {
	parent := ""
	if v := h["Traceparent"]; len(v) == 1 {
		parent = v[0]
	}
	c, continued := x.Trace(parent, fresh)
	if !continued {
		delete(h, "Tracestate")
	}
	h["Traceparent"] = []string{c.Traceparent()}
}
