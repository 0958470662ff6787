package certs

import (
	"crypto/tls"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/acme"
)

// challenges holds the answer to the challenge that is open: one order runs at a time, so
// there is none or one. Readers are handshakes and plain requests.
type challenges struct {
	open atomic.Pointer[openChallenge]
}

// An openChallenge is how one challenge is answered.
type openChallenge struct {
	host string
	tls  *tls.Config // of tls-alpn-01; nil for http-01
	path string      // of http-01
	body string
}

// provide makes ch answered until done is called.
func (p *challenges) provide(c *acme.Client, ch *acme.Challenge, host string) (done func(), err error) {
	open := &openChallenge{host: host}
	switch ch.Type {
	case tlsALPN:
		cert, err := c.TLSALPN01ChallengeCert(ch.Token, host)
		if err != nil {
			return nil, err
		}
		open.tls = &tls.Config{
			MinVersion:             tls.VersionTLS12,
			NextProtos:             []string{alpnProto},
			Certificates:           []tls.Certificate{cert},
			SessionTicketsDisabled: true,
		}
	case http01:
		if open.body, err = c.HTTP01ChallengeResponse(ch.Token); err != nil {
			return nil, err
		}
		open.path = c.HTTP01ChallengePath(ch.Token)
	default:
		return nil, errNotOffered
	}
	p.open.Store(open)
	return func() { p.open.Store(nil) }, nil
}

// challenged gives the configuration for an ACME server's handshake, nil for all others: who
// offers acme-tls/1 alone is such a server (RFC 8737, section 3). If nothing is open for the
// name, the listener's own configuration refuses it with no_application_protocol.
func (i *issuer) challenged(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != alpnProto {
		return nil, nil
	}
	open := i.open.open.Load()
	if open == nil || open.tls == nil || !strings.EqualFold(hello.ServerName, open.host) {
		return nil, nil
	}
	return open.tls, nil
}

// answer gives the answer to an http-01 challenge's path, if it is open.
func (i *issuer) answer(path string) (string, bool) {
	open := i.open.open.Load()
	if open == nil || open.tls != nil || open.path != path {
		return "", false
	}
	return open.body, true
}
