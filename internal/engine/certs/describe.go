package certs

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"stoa/api/fault"
)

// describe fills in what is to be told of c.
func (s *Status) describe(c *tls.Certificate) {
	if c == nil {
		return
	}
	leaf := c.Leaf
	s.Hosts = append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		s.Hosts = append(s.Hosts, ip.String())
	}
	s.Issuer = cmp.Or(leaf.Issuer.CommonName, leaf.Issuer.String())
	s.NotBefore, s.NotAfter = leaf.NotBefore, leaf.NotAfter
	s.Due = leaf.NotAfter.Add(-min(leaf.NotAfter.Sub(leaf.NotBefore)/5, dueBefore))
}

// dueBefore is when whoever replaces files is to be reminded: two weeks before the end, or
// when a fifth of a shorter life is left. What renews by itself has its own time.
const dueBefore = 14 * 24 * time.Hour

// fail fills in what is wrong.
func (s *Status) fail(err error) {
	if err != nil {
		s.Error, s.Hint = err.Error(), fault.HintOf(err)
	}
}

// outOfTime says why clients refuse c at now, or nil.
func outOfTime(c *tls.Certificate, now time.Time) error {
	switch leaf := c.Leaf; {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("expired on %s", leaf.NotAfter.UTC().Format(time.DateTime+" MST"))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("not valid before %s", leaf.NotBefore.UTC().Format(time.DateTime+" MST"))
	}
	return nil
}

// equal says whether both are the same certificate.
func equal(a, b *tls.Certificate) bool { return bytes.Equal(a.Leaf.Raw, b.Leaf.Raw) }

// errNoDir is what a Source says that has to keep something and was given no place.
var errNoDir = errors.New("no folder was given to keep keys in")
