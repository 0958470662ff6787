package route

import (
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Redirect answers with another place. What is empty stays as the request has it; the
// query always does.
type Redirect struct {
	Scheme string `json:"scheme,omitempty"` // http or https; a port of the request is then dropped
	Host   string `json:"host,omitempty"`   // lower case, without port
	Port   int    `json:"port,omitempty"`   // 1 to 65535
	Path   string `json:"path,omitempty"`   // the whole path, with {name} of a template; empty: the path as StripPrefix and Rewrite leave it
	Code   int    `json:"code,omitempty"`   // 301, 302, 303, 307 or 308; 0 means 307
}

// Status is the code to answer with.
func (r *Redirect) Status() int {
	if r.Code == 0 {
		return 307
	}
	return r.Code
}

// Field is one header field.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Edits change header fields: what is named in Remove goes, Set replaces every field of
// its name, Add leaves them and adds one. Fields of framing, of one connection, Host and
// those that say who calls cannot be named.
type Edits struct {
	Set    []Field  `json:"set,omitempty"`
	Add    []Field  `json:"add,omitempty"`
	Remove []string `json:"remove,omitempty"`
}

// Drops says whether fields of this name, in any case, go before Set and Add are
// written. e may be nil.
func (e *Edits) Drops(name string) bool {
	if e == nil {
		return false
	}
	for _, n := range e.Remove {
		if len(n) == len(name) && strings.EqualFold(n, name) {
			return true
		}
	}
	for i := range e.Set {
		if n := e.Set[i].Name; len(n) == len(name) && strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// Weighted is one side of a split.
type Weighted struct {
	Upstream string `json:"upstream"`
	Weight   int    `json:"weight"` // its part of the sum; 0: no request, but kept warm
}

// Choose gives the index in Split for a request, by the hash of its sticky key or trace id,
// so that a retry stays with its version; -1 without a split. Sides take their parts in
// order of the list: when weight moves from one neighbour to the next, only what moves
// changes its side. Rules of different names choose independently.
func (r *Rule) Choose(hash uint64) int {
	var sum uint64
	for i := range r.Split {
		sum += uint64(max(r.Split[i].Weight, 0))
	}
	if sum == 0 {
		return -1
	}
	at, _ := bits.Mul64(mix(hash^salt(r.Name)), sum)
	for i := range r.Split {
		w := uint64(max(r.Split[i].Weight, 0))
		if at < w {
			return i
		}
		at -= w
	}
	return -1 // not reached: at < sum
}

// Mirror sends a copy of a share of the requests to another upstream; its answers are
// thrown away.
type Mirror struct {
	Upstream string  `json:"upstream"`
	Percent  float64 `json:"percent"`          // above 0, at most 100
	Unsafe   bool    `json:"unsafe,omitempty"` // also of methods other than GET, HEAD and OPTIONS
}

// Takes says whether a request is among those that are copied, by the hash of its trace
// id. It chooses independently of a split.
func (m *Mirror) Takes(method string, hash uint64) bool {
	if m == nil || !m.Unsafe && method != "GET" && method != "HEAD" && method != "OPTIONS" {
		return false
	}
	at := mix(hash^0x6d6972726f72) >> 11 // 53 bits, which a float64 holds
	return float64(at) < m.Percent/100*(1<<53)
}

// Sticky says what keeps calls together: a key of the caller's own, or a cookie that names
// the endpoint which answered before. Exactly one of the first three is set.
type Sticky struct {
	Cookie string        `json:"cookie,omitempty"` // its name
	Header string        `json:"header,omitempty"` // the field's name
	Issue  string        `json:"issue,omitempty"`  // the name of a cookie of ours, which callers without one are given
	Lasts  time.Duration `json:"lasts,omitempty"`  // of Issue: how long callers keep it; 0: until a browser is closed
}

// maxLasts is as long as browsers keep any cookie.
const maxLasts = 400 * 24 * time.Hour

// Issued gives the request's cookie of ours, and whether it has one that is not empty.
func (s *Sticky) Issued(req Request) (value string, ok bool) {
	if s == nil || s.Issue == "" || req == nil {
		return "", false
	}
	all, _ := req.Header("Cookie")
	return cookie(all, s.Issue)
}

// Key gives the request's key, and whether it has one that is not empty. s may be nil.
func (s *Sticky) Key(req Request) (key string, ok bool) {
	switch {
	case s == nil || req == nil || s.Issue != "":
		return "", false
	case s.Cookie == "":
		key, _ = req.Header(s.Header)
		return key, key != ""
	}
	all, _ := req.Header("Cookie")
	return cookie(all, s.Cookie)
}

// cookie gives the first cookie of this name in a Cookie field (RFC 6265, section 4.2).
// Lines joined by a comma instead of a semicolon are one cookie more or less: no matter.
func cookie(all, name string) (value string, ok bool) {
	for all != "" {
		pair := all
		if i := strings.IndexByte(all, ';'); i >= 0 {
			pair, all = all[:i], all[i+1:]
		} else {
			all = ""
		}
		pair = strings.TrimLeft(pair, " \t")
		if len(pair) > len(name) && pair[len(name)] == '=' && pair[:len(name)] == name {
			value = strings.TrimRight(pair[len(name)+1:], " \t")
			return value, value != ""
		}
	}
	return "", false
}

// Target is the path to ask the upstream for: the path that was matched, rewritten as
// the rule says. Bytes that no rewrite touches stay as they are in path, which may be
// the matched path as it was before Spelt.
func (h *Hit) Target(path string) string {
	r := h.Rule
	switch {
	case !r.StripPrefix && r.Rewrite == "":
		return path
	case r.kind() == Exact:
		return r.Rewrite
	case r.kind() == Prefix && (r.Rewrite == "" || r.Rewrite == "/"):
		if path = path[len(r.stem()):]; path == "" {
			return "/"
		}
		return path
	}
	return string(h.AppendTarget(make([]byte, 0, len(path)+len(r.Rewrite)), path))
}

// AppendTarget appends what Target gives.
func (h *Hit) AppendTarget(dst []byte, path string) []byte {
	r := h.Rule
	switch {
	case !r.StripPrefix && r.Rewrite == "":
		return append(dst, path...)
	case r.kind() == Exact:
		return append(dst, r.Rewrite...)
	case r.kind() == Template:
		return h.expand(dst, h.c.rewrite, path)
	}
	n := len(dst)
	dst = append(dst, strings.TrimSuffix(r.Rewrite, "/")...)
	dst = append(dst, path[len(r.stem()):]...) // "" or "/..."
	if len(dst) == n {
		return append(dst, '/')
	}
	return dst
}

// expand appends pieces with the variables as they stand in path.
func (h *Hit) expand(dst []byte, pieces []piece, path string) []byte {
	v := &h.Vars
	if len(path) != len(v.path) {
		path = v.path
	}
	for _, x := range pieces {
		dst = append(dst, '/')
		if x.at < 0 {
			dst = append(dst, x.text...)
		} else {
			dst = append(dst, path[v.at[x.at].from:v.at[x.at].to]...)
		}
	}
	return dst
}

// Location is where a redirect leads: the value of the field Location, a reference as in
// RFC 9110, section 10.2.2. host is the request's, with its port; path and query are raw,
// path canonical. It is false if host cannot stand in a reference: the request is to be
// refused.
func (h *Hit) Location(host, path, query string) (string, bool) {
	d := h.Rule.Redirect
	b := make([]byte, 0, len(d.Scheme)+len(host)+len(path)+len(query)+16)
	if d.Scheme != "" {
		b = append(append(b, d.Scheme...), ':')
	}
	if d.Scheme != "" || d.Host != "" || d.Port != 0 {
		if d.Host != "" {
			host = d.Host
		} else if d.Scheme != "" || d.Port != 0 {
			host = withoutPort(host)
		}
		if !plainHost(host) {
			return "", false
		}
		b = append(append(b, "//"...), host...)
		if d.Port != 0 && (d.Scheme != "http" || d.Port != 80) && (d.Scheme != "https" || d.Port != 443) {
			b = strconv.AppendInt(append(b, ':'), int64(d.Port), 10)
		}
	}
	switch {
	case d.Path == "":
		b = h.AppendTarget(b, path)
	case h.Rule.kind() == Template:
		b = h.expand(b, h.c.redirect, path)
	default:
		b = append(b, d.Path...)
	}
	if query != "" {
		b = append(append(b, '?'), query...)
	}
	return string(b), true
}

// withoutPort takes the port away and leaves all else, brackets too.
func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}

// plainHost says whether host is not empty and has only bytes of names and addresses.
func plainHost(host string) bool {
	for i := range len(host) {
		if c := host[i]; !unreserved(c) && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return host != ""
}

// mix spreads a hash over all 64 bits, so that a weak one will do (the finish of
// splitmix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// salt is a hash of a rule's name, the same on every node.
func salt(name string) uint64 {
	h := uint64(len(name))
	for len(name) >= 8 {
		h = mix(h ^ word(name))
		name = name[8:]
	}
	var last uint64
	for i := range len(name) {
		last = last<<8 | uint64(name[i])
	}
	return mix(h ^ last)
}
