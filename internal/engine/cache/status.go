package cache

import "strconv"

// Status is what Cache-Status tells of one request. RFC 9211. It is a line of its own,
// after those of the caches that the answer passed before.
type Status struct {
	Hit       bool   // the answer is from the store and nobody was asked
	Forwarded Why    // why it was forwarded, if it is no hit
	Code      int    // the status of the forwarded answer; 0 if there is none or it is the answer's own
	Entry     *Entry // the answer is this one: its remaining lifetime is told, below 0 if it is stale
	Stored    bool
	Collapsed bool   // it waited for another's request: coalescing
	Detail    string // a token: "stale-if-error", "last-good"
}

// Append appends the value to dst: "stoa; hit; ttl=30", "stoa; fwd=stale; fwd-status=304; ttl=60".
func (s Status) Append(dst []byte, now int64) []byte {
	dst = append(dst, Name...)
	if s.Hit {
		dst = append(dst, "; hit"...)
	} else {
		dst = append(append(dst, "; fwd="...), s.Forwarded.fwd()...)
		if s.Code != 0 {
			dst = strconv.AppendInt(append(dst, "; fwd-status="...), int64(s.Code), 10)
		}
	}
	if s.Entry != nil {
		left := s.Entry.lifetime - s.Entry.Age(now)
		if left < 0 {
			left -= second - 1 // towards minus infinity: what is stale has no ttl=0
		}
		dst = strconv.AppendInt(append(dst, "; ttl="...), left/second, 10)
	}
	if s.Stored {
		dst = append(dst, "; stored"...)
	}
	if s.Collapsed {
		dst = append(dst, "; collapsed"...)
	}
	switch d := s.Detail; {
	case d != "":
		dst = append(append(dst, "; detail="...), d...)
	case s.Forwarded == Unkeyed:
		dst = append(dst, "; detail=unkeyed-header"...)
	}
	return dst
}

// fwd is the value RFC 9211, section 2.2, has for w.
func (w Why) fwd() string {
	switch w {
	case Method, URIMiss, VaryMiss, Stale:
		return w.String()
	case NoReuse, Reload:
		return "request"
	}
	return "bypass"
}
