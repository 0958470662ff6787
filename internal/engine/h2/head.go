package h2

import (
	"sync"

	"stoa/internal/engine/h2/hpack"
)

// Head is a field section that came: of a request, an answer, an interim answer, or trailers.
// Its bytes are good until Free.
type Head struct {
	hpack.Fields

	// Pseudo fields: empty where there is none.
	Method, Scheme, Authority, Path []byte
	Status                          int

	First  int   // index of the first field that is no pseudo field
	Length int64 // content-length; -1: none
}

var heads = sync.Pool{New: func() any { return new(Head) }}

// maxKeptHead is the size up to which the memory of a Head is used again.
const maxKeptHead = 8 << 10

func newHead(max int) *Head {
	h := heads.Get().(*Head)
	h.Max = max
	return h
}

// Free gives the memory of h back. It may be nil.
func (h *Head) Free() {
	if h == nil || h.Held() > maxKeptHead {
		return
	}
	h.Fields.Reset()
	h.Method, h.Scheme, h.Authority, h.Path = nil, nil, nil, nil
	h.Status, h.First, h.Length = 0, 0, 0
	heads.Put(h)
}

// Value gives the first field of a name, in lower case, or nil.
func (h *Head) Value(name string) []byte {
	for i := h.First; i < h.Len(); i++ {
		if n, v := h.At(i); string(n) == name {
			return v
		}
	}
	return nil
}

// kind is what a field section is to be.
type kind uint8

const (
	aRequest kind = iota
	anAnswer
	aTrailer
)

// check reads pseudo fields and content-length and says what rule of RFC 9113, section 8, is
// broken, "" for none.
func (h *Head) check(k kind) string {
	h.Length = -1
	pseudo := true
	var host []byte
	for i := range h.Len() {
		name, value := h.At(i)
		if len(name) == 0 {
			return "a field without a name"
		}
		if !cleanValue(value) {
			return "a field's value with bytes that it must not have"
		}
		if name[0] == ':' {
			if !pseudo {
				return "a pseudo field behind others"
			}
			if text := h.pseudo(k, name, value); text != "" {
				return text
			}
			continue
		}
		if pseudo {
			pseudo, h.First = false, i
		}
		if !cleanName(name) {
			return "a field's name with bytes that it must not have"
		}
		switch string(name) {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
			return "a field of a connection of HTTP/1.1"
		case "te":
			if string(value) != "trailers" {
				return "te is not trailers"
			}
		case "content-length":
			n, ok := number(value)
			if !ok || h.Length >= 0 && n != h.Length {
				return "a content-length that is none, or two of them"
			}
			h.Length = n
		case "host":
			if host != nil && string(host) != string(value) {
				return "two hosts"
			}
			host = value
		}
	}
	if pseudo {
		h.First = h.Len()
	}
	switch k {
	case anAnswer:
		if h.Status == 0 {
			return "no :status"
		}
	case aRequest:
		if len(h.Method) == 0 {
			return "no :method"
		}
		if string(h.Method) == "CONNECT" {
			if len(h.Scheme)+len(h.Path) > 0 || len(h.Authority) == 0 {
				return "CONNECT with a scheme or path, or without an authority"
			}
			break
		}
		if len(h.Scheme) == 0 || len(h.Path) == 0 {
			return "no :scheme or :path"
		}
		if h.Path[0] != '/' && (string(h.Path) != "*" || string(h.Method) != "OPTIONS") {
			return "a :path that does not begin with a slash"
		}
		if len(h.Authority) == 0 {
			h.Authority = host
		} else if host != nil && string(host) != string(h.Authority) {
			return "host and :authority differ"
		}
	}
	return ""
}

func (h *Head) pseudo(k kind, name, value []byte) string {
	if k == aTrailer {
		return "a pseudo field among trailers"
	}
	var to *[]byte
	if k == aRequest {
		switch string(name) {
		case ":method":
			to = &h.Method
		case ":scheme":
			to = &h.Scheme
		case ":authority":
			to = &h.Authority
		case ":path":
			to = &h.Path
		}
	} else if string(name) == ":status" {
		n, ok := number(value)
		if !ok || len(value) != 3 || n < 100 || h.Status != 0 {
			return "a :status that is none, or two of them"
		}
		h.Status = int(n)
		return ""
	}
	switch {
	case to == nil:
		return "an unknown pseudo field"
	case len(*to) > 0 || len(value) == 0:
		return "a pseudo field twice, or empty"
	}
	if to == &h.Method && !isMethod(value) {
		return "a :method that is no token"
	}
	for _, c := range value {
		if c <= ' ' || c == 0x7f {
			return "a pseudo field with blanks"
		}
	}
	*to = value
	return ""
}

// isMethod says whether b is a token.
func isMethod(b []byte) bool {
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if !nameBytes[c] {
			return false
		}
	}
	return true
}

// number reads a decimal number of at most 18 digits in its one spelling.
func number(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// nameBytes are those of tokens, without upper case. RFC 9113, section 8.2.1.
var nameBytes = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz" {
		t[c] = true
	}
	return t
}()

func cleanName(b []byte) bool {
	for _, c := range b {
		if !nameBytes[c] {
			return false
		}
	}
	return len(b) > 0
}

// cleanValue says whether a value has no control byte but tabs, and no blank at its ends.
func cleanValue(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if f, l := b[0], b[len(b)-1]; f == ' ' || f == '\t' || l == ' ' || l == '\t' {
		return false
	}
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
