package cache

import "strings"

// asked is what a request says to a cache, read in one pass.
type asked struct {
	ctl    control
	auth   bool // Authorization
	cookie bool
	cond   bool // If-None-Match or If-Modified-Since
	why    Why  // the cache has no part in it; OK if it may have
}

// read looks through r. The request's own no-store also forbids the look-up: who wants no
// trace of the request does not want an old answer either.
func (r *Request) read() asked {
	a := asked{ctl: silent()}
	pragma := false
	for i := range r.Fields {
		f := &r.Fields[i]
		switch len(f.Name) {
		case 5:
			if same(f.Name, "Range") {
				a.why = Bypassed
			}
		case 6:
			switch {
			case same(f.Name, "Cookie"):
				a.cookie = true
			case same(f.Name, "Pragma"):
				pragma = pragma || strings.Contains(strings.ToLower(f.Value), "no-cache")
			}
		case 7:
			if same(f.Name, "Upgrade") {
				a.why = Bypassed
			}
		case 8:
			if same(f.Name, "If-Match") {
				a.why = Bypassed
			}
		case 13:
			switch {
			case same(f.Name, "Authorization"):
				a.auth = true
			case same(f.Name, "Cache-Control"):
				a.ctl.said = true
				a.ctl.read(f.Value)
			case same(f.Name, "If-None-Match"):
				a.cond = true
			}
		case 17:
			if same(f.Name, "If-Modified-Since") {
				a.cond = true
			}
		case 19:
			if same(f.Name, "If-Unmodified-Since") {
				a.why = Bypassed
			}
		}
		if unkeyed(f, r.Key.Host) && a.why == OK {
			a.why = Unkeyed
		}
	}
	if pragma && !a.ctl.said {
		a.ctl.noCache = true // RFC 9111, section 5.4
	}
	switch {
	case r.Method != "GET" && r.Method != "HEAD":
		a.why = Method
	case a.why != OK:
	case r.Body:
		a.why = Bypassed
	case a.ctl.noStore || a.ctl.broken:
		a.why = NoReuse
	}
	return a
}

// unkeyed says whether a service may take f for another host, path or method than the key
// has. Such a request would put its answer in the place of another's: cache poisoning.
// At the edge these fields are gone before the cache is asked; within the mesh a caller
// may have passed them on. X-Forwarded-For alone changes with every client and is let through.
func unkeyed(f *Field, host string) bool {
	n := f.Name
	if len(n) == 9 && same(n, "Forwarded") {
		v := strings.ToLower(f.Value)
		return strings.Contains(v, "host") || strings.Contains(v, "proto")
	}
	if len(n) < 6 || n[1] != '-' || n[0] != 'X' && n[0] != 'x' {
		return false
	}
	if len(n) > 12 && same(n[:12], "X-Forwarded-") {
		return !same(n, "X-Forwarded-For") && !(same(n, "X-Forwarded-Host") && f.Value == host)
	}
	switch len(n) {
	case 6:
		return same(n, "X-Host")
	case 13:
		return same(n, "X-HTTP-Method") || same(n, "X-Rewrite-URL")
	case 14:
		return same(n, "X-Original-URL")
	case 15:
		return same(n, "X-Original-Host")
	case 17:
		return same(n, "X-Method-Override")
	case 22:
		return same(n, "X-HTTP-Method-Override")
	}
	return false
}

// maxVary bounds the fields that an answer may vary on.
const maxVary = 16

// A varied is a field that an answer varies on and the value the request had.
type varied struct{ name, value string }

// varyOf gives what a varies on with r's values, or false if it is everything or too much.
// The value is normalized so far as no service can tell the difference: RFC 9111, section 4.1.
func varyOf(r *Request, a *Answer) ([]varied, bool) {
	var out []varied
	fine := true
	for i := range a.Fields {
		if !same(a.Fields[i].Name, "Vary") {
			continue
		}
		members(a.Fields[i].Value, func(m string) bool {
			if m == "*" || len(out) == maxVary {
				fine = false
				return false
			}
			m = strings.ToLower(m)
			for _, v := range out {
				if v.name == m {
					return true
				}
			}
			out = append(out, varied{m, variantOf(r.Fields, m)})
			return true
		})
	}
	return out, fine
}

// variantOf gives what a request has under name as one string that is equal for requests
// between which no service may tell: white space around commas does not count, nor how
// many lines there are, nor, in lists of codings and languages, the case. Absent and empty
// are told apart: absent is "\x00", which no value can be.
func variantOf(f Fields, name string) string {
	if _, ok := f.First(name); !ok {
		return "\x00"
	}
	v := f.Joined(name)
	if folded(name) {
		v = strings.ToLower(v)
	}
	if !strings.ContainsAny(v, " \t") {
		return v
	}
	if strings.IndexByte(v, ',') < 0 || strings.IndexByte(v, '"') >= 0 {
		return trim(v)
	}
	parts := strings.Split(v, ",")
	for i := range parts {
		parts[i] = trim(parts[i])
	}
	return strings.Join(parts, ",")
}

func folded(name string) bool {
	return name == "accept-encoding" || name == "accept-language" || name == "accept-charset"
}

// isVariant says whether variantOf(f, name) is want, in the usual case without building it.
func isVariant(f Fields, name, want string) bool {
	v, lines := "", 0
	for i := range f {
		if same(f[i].Name, name) {
			v = f[i].Value
			lines++
		}
	}
	switch {
	case lines == 0:
		return want == "\x00"
	case lines > 1 || strings.IndexByte(v, '"') >= 0:
		return variantOf(f, name) == want
	}
	fold := folded(name)
	for {
		m, rest, more := strings.Cut(v, ",")
		w, wrest, wmore := strings.Cut(want, ",")
		if m = trim(m); m != w && !(fold && strings.ToLower(m) == w) || more != wmore {
			return false
		}
		if !more {
			return true
		}
		v, want = rest, wrest
	}
}
