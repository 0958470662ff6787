package h1

// Identify gives the ID of a field name, which is a token, in any case.
func Identify(name []byte) ID { return identify(name, 0, len(name)) }

// OfHop says whether fields of id are of one connection only, and not sent on: RFC 9110, section 7.6.1.
func (id ID) OfHop() bool { return id.has(hop) }

// InTrailer says whether fields of id may stand in a trailer section: RFC 9110, section 6.5.1.
func (id ID) InTrailer() bool { return !id.has(noTrailer) }

// Misspelt says whether a name is one of framing if _ is read as -, as some servers do.
func Misspelt(name []byte) bool { return identify(name, 0, len(name)) == Other && misspelt(name) }

// IsHost says whether b may stand in a Host field: RFC 9110, section 7.2. It is as strict as Request.Parse.
func IsHost(b []byte) bool { return hostname(b) > 0 }
