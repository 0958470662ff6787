package h1

// Verb is a method that is known. Methods are case-sensitive.
type Verb uint8

// The known methods; the others are OtherVerb.
const (
	OtherVerb Verb = iota
	GET
	HEAD
	POST
	PUT
	PATCH
	DELETE
	OPTIONS
	TRACE
	CONNECT
	numVerbs
)

var verbs = [numVerbs]string{"", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}

// String is the method, or "" for OtherVerb.
func (v Verb) String() string {
	if v < numVerbs {
		return verbs[v]
	}
	return ""
}

// Safe says whether the method only reads. RFC 9110, section 9.2.1.
func (v Verb) Safe() bool { return v == GET || v == HEAD || v == OPTIONS || v == TRACE }

// Idempotent says whether the method may be repeated. RFC 9110, section 9.2.2.
func (v Verb) Idempotent() bool { return v.Safe() || v == PUT || v == DELETE }

func verb(b []byte) Verb {
	switch string(b) { // compiled to comparisons by length: nothing is copied
	case "GET":
		return GET
	case "HEAD":
		return HEAD
	case "POST":
		return POST
	case "PUT":
		return PUT
	case "PATCH":
		return PATCH
	case "DELETE":
		return DELETE
	case "OPTIONS":
		return OPTIONS
	case "TRACE":
		return TRACE
	case "CONNECT":
		return CONNECT
	}
	return OtherVerb
}
