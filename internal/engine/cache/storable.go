package cache

// storable says why the answer to r is not stored, or OK. RFC 9111, section 3.
func storable(r *Request, q *asked, a *Answer) Why {
	if q.why != OK {
		return q.why
	}
	if r.Method != "GET" {
		return NoBody
	}
	c := parseControl(a.Fields)
	if w := sharable(q, a, c); w != OK {
		return w
	}
	if _, fine := varyOf(r, a); !fine {
		return VaryAny
	}
	date := a.Came / second
	if d, ok := a.Fields.First("Date"); ok {
		if s, ok := parseDate(d); ok {
			date = s
		}
	}
	life, said := lifetime(c, a.Fields, date)
	if !said && !c.noCache && !c.public && !c.mustRevalidate {
		return Unsure // it may be cached, but nothing is guessed
	}
	if life > 0 && !c.noCache || c.staleIfError > 0 && !c.noCache || c.staleWhileRevalidate > 0 && !c.noCache {
		return OK
	}
	// It is of use only for asking whether it still holds.
	_, tag := a.Fields.First("ETag")
	mod, _ := a.Fields.First("Last-Modified")
	_, dated := parseDate(mod)
	if !tag && !dated {
		return Unsure
	}
	return OK
}

// sharable is the part of storable that does not ask for freshness: whether the answer may
// be given to others at all.
func sharable(q *asked, a *Answer, c control) Why {
	if !storedStatus(a.Status) {
		return Code
	}
	open := c.public || c.sMaxAge >= 0 || c.mustRevalidate
	cookieVaries := false
	for i := range a.Fields {
		f := &a.Fields[i]
		switch len(f.Name) {
		case 4:
			if same(f.Name, "Vary") {
				members(f.Value, func(m string) bool { cookieVaries = cookieVaries || same(m, "Cookie"); return true })
			}
		case 10:
			if same(f.Name, "Set-Cookie") {
				return Cookie
			}
		case 13:
			if same(f.Name, "Stoa-Fallback") || same(f.Name, "Stoa-Injected") {
				return Degraded
			}
			if same(f.Name, "Content-Range") {
				return Code
			}
		}
	}
	switch {
	case c.broken, c.noStore && !c.mustUnderstand: // of the statuses stored, all are understood. Section 5.2.2.3
		return NoStore
	case c.private:
		return Private
	case q.auth && !open, q.cookie && !open && !cookieVaries:
		return Secret
	}
	return OK
}

// storedStatus are the final statuses that are stored, if the answer says for how long. No
// 206 and no 304, which are parts; no 400, 431 and the like, with which a caller's
// malformed header would shut others out; no 5xx but 501.
func storedStatus(code int) bool {
	switch code {
	case 200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 451, 501:
		return true
	}
	return false
}

// Sharable says why one answer of the service must not be given to several callers that
// asked at the same time, or OK: the rule of coalescing. A 2xx that a shared cache may
// store, though it need not say for how long; but not one that is old when it comes, for a
// caller that joined late may have asked after the service had answered.
func Sharable(r *Request, a *Answer) Why {
	w, c := lendable(r, a)
	if w != OK {
		return w
	}
	if life, said := lifetime(c, a.Fields, a.Came/second); c.noCache || said && life == 0 {
		return NoStore
	}
	return OK
}

// Keepable says why an answer must not stand in for a later failure, or OK: the rule of
// LastGood. Like Sharable, but what forbids stale use counts and freshness does not.
// s-maxage alone does not forbid it, although section 5.2.2.10 has it imply
// proxy-revalidate: who declares the fallback decides, and the answer is marked.
func Keepable(r *Request, a *Answer) Why {
	w, c := lendable(r, a)
	if w == OK && (c.noCache || c.mustRevalidate || c.proxyRevalidate) {
		return NoStore
	}
	return w
}

// lendable is what Sharable and Keepable have in common.
func lendable(r *Request, a *Answer) (Why, control) {
	q, c := r.read(), parseControl(a.Fields)
	switch {
	case q.why != OK:
		return q.why, c
	case r.Method != "GET":
		return NoBody, c
	case a.Status < 200 || a.Status > 299:
		return Code, c
	}
	if w := sharable(&q, a, c); w != OK {
		return w, c
	}
	if _, fine := varyOf(r, a); !fine {
		return VaryAny, c
	}
	return OK, c
}
