package cache

import (
	"strconv"
	"strings"
	"sync/atomic"
)

// An Entry is an answer as it may be given again. Once Finish has returned it, it never
// changes, and any number of goroutines may read it.
type Entry struct {
	key    Key
	class  string
	vary   []varied
	status int
	fields Fields
	body   []byte

	etag         string
	lastModified string
	modified     int64 // lastModified in seconds; 0 if there is none
	date         int64 // of the answer, seconds

	ctl      control
	open     bool  // may be given to requests with Authorization: RFC 9111, section 3.5
	cookies  bool  // may be given to requests with Cookie
	born     int64 // when it had the age 0, ns
	asked    int64
	came     int64
	lifetime int64 // ns it is fresh from born
	explicit bool  // the lifetime was said
	declared int64 // Content-Length; -1 if there was none

	refresh atomic.Int64 // until when somebody is at work on a newer one, ns
}

// NewEntry makes an entry of a's head, for Room.Record to give it a body. It copies what
// it keeps. Whether it may be stored is for Store.Take and LastGood.Wants to say.
func NewEntry(r *Request, a *Answer) *Entry {
	e := &Entry{status: a.Status, asked: a.Asked, came: max(a.Came, a.Asked), declared: -1}
	vary, _ := varyOf(r, a)
	head := a.Fields.kept(make(Fields, 0, len(a.Fields)+2))
	if _, ok := head.First("Date"); !ok {
		// An answer without Date counts as made when it came. RFC 9110, section 6.6.1.
		head = append(head, Field{"Date", formatDate(e.came)})
	}
	// Everything is cloned in one block: the head first, then what is not part of it.
	all := append(head, Field{r.Key.Host, r.Key.Target}, Field{r.Class, ""})
	for _, v := range vary {
		all = append(all, Field{v.name, v.value})
	}
	all = all.cloned()
	n := len(head)
	e.key, e.class = Key{all[n].Name, all[n].Value}, all[n+1].Name
	for i := range vary {
		vary[i] = varied{all[n+2+i].Name, all[n+2+i].Value}
	}
	e.vary = vary
	e.fields = append(make(Fields, 0, n+1), all[:n]...)
	e.read(a)
	return e
}

// read takes from the head what decides.
func (e *Entry) read(a *Answer) {
	e.ctl = parseControl(a.Fields)
	e.etag, _ = e.fields.First("ETag")
	e.etag = trim(e.etag)
	e.lastModified, _ = e.fields.First("Last-Modified")
	if s, ok := parseDate(e.lastModified); ok {
		e.modified = s
	} else {
		e.lastModified = ""
	}
	if l, ok := a.Fields.First("Content-Length"); ok {
		if n, err := strconv.ParseInt(l, 10, 64); err == nil && n >= 0 {
			e.declared = n
		}
	}
	e.open = e.ctl.public || e.ctl.sMaxAge >= 0 || e.ctl.mustRevalidate
	e.cookies = e.open
	for _, v := range e.vary {
		if v.name == "cookie" {
			e.cookies = true
		}
	}
	e.age(a)
	e.lifetime, e.explicit = lifetime(e.ctl, a.Fields, e.date)
}

// age works out born. RFC 9111, section 4.2.3.
func (e *Entry) age(a *Answer) {
	e.date = e.came / second
	if d, ok := a.Fields.First("Date"); ok {
		if s, ok := parseDate(d); ok {
			e.date = s
		}
	}
	apparent := max(0, e.came/second-e.date) * second
	corrected := e.came - e.asked
	if v, ok := a.Fields.First("Age"); ok {
		v, _, _ = strings.Cut(v, ",")
		corrected += seconds(trim(v), 0) * second
	}
	e.born = e.came - max(apparent, corrected)
}

// lifetime says how long an answer is fresh, and whether it says so. RFC 9111, section
// 4.2.1, without heuristics.
func lifetime(c control, f Fields, date int64) (int64, bool) {
	switch {
	case c.sMaxAge >= 0:
		return c.sMaxAge * second, true
	case c.maxAge >= 0:
		return c.maxAge * second, true
	}
	if v, ok := f.First("Expires"); ok {
		if s, ok := parseDate(v); ok && s > date {
			return min(s-date, forever) * second, true
		}
		return 0, true // what is no date, such as 0, is in the past. Section 5.3
	}
	return 0, false
}

// Age is how old the answer is at now, in nanoseconds, never below 0 though the clock be set back.
func (e *Entry) Age(now int64) int64 { return max(0, now-e.born) }

// Status is the status code.
func (e *Entry) Status() int { return e.status }

// Body is the content as the service coded it. Not to be written to.
func (e *Entry) Body() []byte { return e.body }

// overhead is what an entry costs besides its strings and its body: itself, its place
// in map and list.
const overhead = 640

func (e *Entry) size() int64 {
	n := overhead + cap(e.body) + len(e.key.Host) + len(e.key.Target) + len(e.class)
	for i := range e.fields {
		n += 32 + len(e.fields[i].Name) + len(e.fields[i].Value)
	}
	for _, v := range e.vary {
		n += 32 + len(v.name) + len(v.value)
	}
	return int64(n)
}

// Fits says whether e answers r: key, class, what e varies on, credentials. It says nothing
// of freshness.
func (e *Entry) Fits(r *Request) bool {
	if e.key != r.Key || r.Method != "GET" && r.Method != "HEAD" {
		return false
	}
	a := r.read()
	return a.why == OK && e.fits(r, &a)
}

func (e *Entry) fits(r *Request, a *asked) bool {
	return e.class == r.Class && (!a.auth || e.open) && (!a.cookie || e.cookies) && e.sameVariant(r)
}

func (e *Entry) sameVariant(r *Request) bool {
	for i := range e.vary {
		if !isVariant(r.Fields, e.vary[i].name, e.vary[i].value) {
			return false
		}
	}
	return true
}
