package cache

// control is what Cache-Control says, of a request or of an answer. RFC 9111, section 5.2.
// Numbers are seconds; absent means not said.
type control struct {
	noStore, noCache, private, public   bool
	mustRevalidate, proxyRevalidate     bool
	mustUnderstand, onlyIfCached        bool
	said                                bool // there is a Cache-Control
	broken                              bool // which cannot be read
	maxAge, sMaxAge, minFresh, maxStale int64
	staleIfError, staleWhileRevalidate  int64
}

const (
	absent   = -1
	forever  = 1 << 31 // what a larger number counts as. Section 1.2.2
	maxField = 64      // directives read; a Cache-Control with more is taken for no-store
)

func silent() control {
	return control{maxAge: absent, sMaxAge: absent, minFresh: absent, maxStale: absent, staleIfError: absent, staleWhileRevalidate: absent}
}

// parseControl reads all Cache-Control lines of f. What cannot be read counts as no-store:
// a quote that does not end may have swallowed one.
func parseControl(f Fields) control {
	c := silent()
	for i := range f {
		if same(f[i].Name, "Cache-Control") {
			c.said = true
			c.read(f[i].Value)
		}
	}
	return c
}

func (c *control) read(s string) {
	for n := 0; ; n++ {
		for len(s) > 0 && (s[0] == ',' || s[0] == ' ' || s[0] == '\t') {
			s = s[1:]
		}
		if s == "" {
			return
		}
		if n == maxField {
			c.broken = true
			return
		}
		i := 0
		for i < len(s) && s[i] != '=' && s[i] != ',' && s[i] != '"' {
			i++
		}
		name := trim(s[:i])
		s = s[i:]
		arg, has := "", false
		if s != "" && s[0] == '=' {
			has = true
			s = s[1:]
			for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
				s = s[1:]
			}
			if s != "" && s[0] == '"' {
				j := endQuote(s)
				if j < 0 {
					c.broken = true
					return
				}
				arg, s = s[1:j], s[j+1:]
			} else {
				j := 0
				for j < len(s) && s[j] != ',' {
					j++
				}
				arg, s = trim(s[:j]), s[j:]
			}
		}
		// What follows a value up to the comma makes the directive unreadable, quotes
		// included: a comma within them is no comma.
		for s != "" && s[0] != ',' {
			switch s[0] {
			case ' ', '\t':
				s = s[1:]
			case '"':
				j := endQuote(s)
				if j < 0 {
					c.broken = true
					return
				}
				arg, s = "?", s[j+1:]
			default:
				arg, s = "?", s[1:]
			}
		}
		c.set(name, arg, has)
	}
}

// endQuote gives where the quoted string at the start of s ends, -1 if it does not.
func endQuote(s string) int {
	for j := 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case '"':
			return j
		}
	}
	return -1
}

// set takes one directive. Of two that differ the stricter counts. Section 4.2.1.
func (c *control) set(name, arg string, has bool) {
	switch len(name) {
	case 6:
		if same(name, "public") {
			c.public = true
		}
	case 7:
		switch {
		case same(name, "private"):
			c.private = true
		case same(name, "max-age"):
			c.maxAge = least(c.maxAge, seconds(arg, 0))
		}
	case 8:
		switch {
		case same(name, "no-store"):
			c.noStore = true
		case same(name, "no-cache"):
			c.noCache = true
		case same(name, "s-maxage"):
			c.sMaxAge = least(c.sMaxAge, seconds(arg, 0))
		}
	case 9:
		switch {
		case same(name, "min-fresh"):
			c.minFresh = max(c.minFresh, seconds(arg, forever))
		case same(name, "max-stale"):
			if !has {
				arg = "2147483648"
			}
			c.maxStale = least(c.maxStale, seconds(arg, 0))
		}
	case 14:
		switch {
		case same(name, "stale-if-error"):
			c.staleIfError = least(c.staleIfError, seconds(arg, 0))
		case same(name, "only-if-cached"):
			c.onlyIfCached = true
		}
	case 15:
		switch {
		case same(name, "must-revalidate"):
			c.mustRevalidate = true
		case same(name, "must-understand"):
			c.mustUnderstand = true
		}
	case 16:
		if same(name, "proxy-revalidate") {
			c.proxyRevalidate = true
		}
	case 22:
		if same(name, "stale-while-revalidate") {
			c.staleWhileRevalidate = least(c.staleWhileRevalidate, seconds(arg, 0))
		}
	}
}

func least(old, n int64) int64 {
	if old == absent {
		return n
	}
	return min(old, n)
}

// seconds reads digits and nothing else; other is what anything else counts as.
func seconds(s string, other int64) int64 {
	if s == "" {
		return other
	}
	var n int64
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return other
		}
		n = min(n*10+int64(d), forever)
	}
	return n
}
