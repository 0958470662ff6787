package certs

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Redirect gives the https URL of a plain request, for Location under status 308 (which
// keeps the method, RFC 9110, section 15.4.9): host is the request's authority, target its
// request-target in origin form, kept byte for byte, port where the TLS listener is reached.
// It is not ok, and the request to be refused with 400, if either is no such thing: nothing
// that could end a header or lead elsewhere gets into a Location.
//
// Ask Challenge first: an ACME server's question is not to be redirected.
func Redirect(host, target string, port int) (location string, ok bool) {
	name, ok := hostOnly(host)
	if !ok || port < 1 || port > 65535 || !strings.HasPrefix(target, "/") {
		return "", false
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f || c == '#' || c == '\\' || c == '"' || c == '<' || c == '>' {
			return "", false
		}
	}
	if port == 443 {
		return "https://" + name + target, true
	}
	return "https://" + name + ":" + strconv.Itoa(port) + target, true
}

// hostOnly takes the port from an authority, and checks what is left.
func hostOnly(host string) (string, bool) {
	name, port := host, ""
	if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
		name, port = host[:at], host[at+1:]
	}
	for _, c := range []byte(port) {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	if inner, is := strings.CutPrefix(name, "["); is {
		inner, closed := strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return name, closed && err == nil && a.Is6() && a.Zone() == ""
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return name, a.Is4()
	}
	return name, validName(strings.TrimSuffix(name, "."))
}

// HSTS tells browsers to come by https only: RFC 6797. Its zero value tells them nothing.
type HSTS struct {
	MaxAge     time.Duration `json:"maxAge,omitempty"`     // for how long they keep to it, in whole seconds, at most two years; 0: no header is sent
	Subdomains bool          `json:"subdomains,omitempty"` // names below the host, too
	Preload    bool          `json:"preload,omitempty"`    // the owner agrees that browsers ship the host in their list: a year at least, and subdomains
}

// Bounds of HSTS.
const (
	maxAge     = 2 * 365 * 24 * time.Hour
	preloadAge = 365 * 24 * time.Hour // what the browsers' list asks for
)

// Check calls bad for everything that is wrong with h.
func (h HSTS) Check(bad func(path, text, hint string)) {
	if h.MaxAge < 0 || h.MaxAge > maxAge || h.MaxAge%time.Second != 0 {
		bad("maxAge", h.MaxAge.String()+" is not between 0 and two years in whole seconds", "Start with 1h, and raise it to 8760h once all works.")
	}
	if h.Subdomains && h.MaxAge == 0 {
		bad("subdomains", "without maxAge nothing is said", "Give maxAge.")
	}
	if h.Preload && (h.MaxAge < preloadAge || !h.Subdomains) {
		bad("preload", "browsers' lists ask for maxAge of a year and for subdomains", "Give maxAge: 8760h and subdomains: true.")
	}
}

// Value gives the value of Strict-Transport-Security for answers over TLS to host, the
// request's authority; "" if none is to be sent: h says nothing, or host is an address (RFC
// 6797, section 8.1.1) or localhost, where it would keep a browser from every other program
// of its user. Over plain HTTP none may be sent (section 7.2).
func (h HSTS) Value(host string) string {
	name, ok := hostOnly(host)
	if !ok || h.MaxAge < time.Second || strings.HasPrefix(name, "[") || below(strings.TrimSuffix(strings.ToLower(name), "."), "localhost") {
		return ""
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return ""
	}
	v := "max-age=" + strconv.FormatInt(int64(h.MaxAge/time.Second), 10)
	if h.Subdomains {
		v += "; includeSubDomains"
	}
	if h.Preload {
		v += "; preload"
	}
	return v
}
