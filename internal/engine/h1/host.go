package h1

// host reads the one authority of the request. RFC 9112, sections 3.2 and 3.2.2.
func (r *Request) host(b []byte) rule {
	i := r.Index(Host)
	if i == 0 {
		if r.Minor == 1 {
			return hostMissing
		}
		if !r.Absolute {
			return ok
		}
	} else {
		if r.Repeated(Host) {
			return hostRepeated
		}
		v := r.Fields[i-1].Value
		if r.Absolute && !sameFold(v.In(b), r.Host.In(b)) {
			return hostDiffers
		}
		r.Host = v
	}
	n := hostname(r.Host.In(b))
	if n == 0 {
		return badHost
	}
	r.Hostname = Span{r.Host.Off, int32(n)}
	return ok
}

// hostname gives the length of the name or address that h begins with, if h is one with
// at most a port behind it, else 0.
func hostname(h []byte) int {
	n := 0
	if len(h) > 0 && h[0] == '[' {
		n = skip(h, 1, addrByte)
		if n < 3 || n == len(h) || h[n] != ']' {
			return 0
		}
		n++
	} else {
		n = skip(h, 0, hostByte)
	}
	if n == 0 || n == len(h) {
		return n
	}
	port := h[n+1:]
	if h[n] != ':' || len(port) == 0 || len(port) > 5 {
		return 0
	}
	p := 0
	for _, c := range port {
		if octets[c]&digitByte == 0 {
			return 0
		}
		p = p*10 + int(c-'0')
	}
	if p > 65535 {
		return 0
	}
	return n
}
