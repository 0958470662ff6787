package cache

import (
	"strconv"
	"strings"
)

// Answer appends to dst the head of the answer to r at now, and gives its status and body.
// A GET or HEAD whose own condition says that its caller has the same already gets 304. RFC 9110,
// section 13.2.2. The answer to a HEAD has no body but the Content-Length of one.
// Fields of one hop, Cache-Status and the mark of a fallback are the caller's to add.
func (e *Entry) Answer(dst Fields, r *Request, now int64) (status int, head Fields, body []byte) {
	if e.status >= 200 && e.status <= 299 && e.notModified(r.Fields) {
		for i := range e.fields {
			if belongs304(e.fields[i].Name, e.etag != "") {
				dst = append(dst, e.fields[i])
			}
		}
		return 304, e.aged(dst, now), nil
	}
	dst = e.aged(append(dst, e.fields...), now)
	if r.Method == "HEAD" {
		return e.status, dst, nil
	}
	return e.status, dst, e.body
}

func (e *Entry) aged(dst Fields, now int64) Fields {
	return append(dst, Field{"Age", strconv.FormatInt(e.Age(now)/second, 10)})
}

// notModified evaluates the caller's condition. RFC 9111, section 4.3.2.
func (e *Entry) notModified(f Fields) bool {
	if _, ok := f.First("If-None-Match"); ok {
		return matches(f.Joined("If-None-Match"), e.etag)
	}
	v, ok := f.First("If-Modified-Since")
	if !ok {
		return false
	}
	since, ok := parseDate(v)
	if !ok {
		return false
	}
	if e.lastModified != "" {
		return e.modified <= since
	}
	return e.date <= since
}

// matches says whether a list of entity tags has tag, by weak comparison, or is "*".
func matches(list, tag string) bool {
	list = trim(list)
	if list == "*" {
		return true
	}
	if tag == "" {
		return false
	}
	tag = strings.TrimPrefix(tag, "W/")
	for list != "" {
		list = strings.TrimLeft(list, " \t,")
		list = strings.TrimPrefix(list, "W/")
		if list == "" || list[0] != '"' {
			// No tag: over to the next comma.
			_, list, _ = strings.Cut(list, ",")
			continue
		}
		end := strings.IndexByte(list[1:], '"') // a tag has no escapes
		if end < 0 {
			return false
		}
		if list[:end+2] == tag {
			return true
		}
		list = list[end+2:]
	}
	return false
}

// belongs304 says whether a 304 repeats a field of the answer. RFC 9110, section 15.4.5.
func belongs304(name string, tagged bool) bool {
	switch len(name) {
	case 4:
		return same(name, "Date") || same(name, "ETag") || same(name, "Vary")
	case 7:
		return same(name, "Expires")
	case 12:
		return same(name, "Cache-Status")
	case 13:
		return same(name, "Cache-Control") || same(name, "Last-Modified") && !tagged
	case 16:
		return same(name, "Content-Location")
	}
	return len(name) > 15 && same(name[:15], "Access-Control-") // a browser checks the 304's own
}

// validators says whether e can be asked for by a condition.
func (e *Entry) validators() bool { return e.etag != "" || e.lastModified != "" }

// Conditions appends to dst what the forwarded request must have in the place of its own
// If-None-Match and If-Modified-Since, so that the service may answer that the entry still
// holds. Without entry or validators it appends nothing, and the request keeps its own.
// RFC 9111, section 4.3.1.
func (l *Look) Conditions(dst Fields) Fields {
	e := l.Entry
	if !l.validates() {
		return dst
	}
	if e.etag != "" {
		dst = append(dst, Field{"If-None-Match", e.etag})
	}
	if e.lastModified != "" {
		dst = append(dst, Field{"If-Modified-Since", e.lastModified})
	}
	return dst
}

func (l *Look) validates() bool {
	return l.Entry != nil && (l.Use == Forward || l.Refresh) && l.Entry.validators()
}

// freshened gives e with the head that a 304 brings, and that head as if it had come with
// the body; or nil if the 304 is of another answer. RFC 9111, sections 3.2 and 4.3.4.
func (e *Entry) freshened(r *Request, a *Answer) (*Entry, *Answer) {
	if tag, ok := a.Fields.First("ETag"); ok && e.etag != "" && strings.TrimPrefix(trim(tag), "W/") != strings.TrimPrefix(e.etag, "W/") {
		return nil, nil
	}
	news := a.Fields.kept(make(Fields, 0, len(a.Fields)))
	head := make(Fields, 0, len(news)+len(e.fields))
	for _, f := range e.fields {
		if same(f.Name, "Content-Length") || same(f.Name, "Date") {
			continue // made anew
		}
		if _, replaced := news.First(f.Name); !replaced || ofContent(f.Name) {
			head = append(head, f)
		}
	}
	for _, f := range news {
		if !ofContent(f.Name) {
			head = append(head, f)
		}
	}
	if age, ok := a.Fields.First("Age"); ok {
		head = append(head, Field{"Age", age})
	}
	whole := &Answer{Status: e.status, Fields: head, Asked: a.Asked, Came: a.Came}
	n := NewEntry(r, whole)
	n.body = e.body
	if e.status != 204 {
		n.fields = append(n.fields, Field{"Content-Length", strconv.Itoa(len(n.body))})
	}
	return n, whole
}

// ofContent are the fields that say how to read the body that is kept: a 304 cannot change them.
func ofContent(name string) bool {
	return same(name, "Content-Encoding") || same(name, "Content-Type") || same(name, "Content-Range")
}
