package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"

	"stoa/api/fault"
)

// The kinds of challenges that a gateway can answer.
const (
	tlsALPN = "tls-alpn-01" // RFC 8737: a handshake on port 443
	http01  = "http-01"     // RFC 8555, section 8.3: a GET on port 80
)

// alpnProto is what the handshake of a tls-alpn-01 challenge negotiates.
const alpnProto = acme.ALPNProto

// session makes a client and sees that the account exists. It lives for what is due now: a
// session costs three requests, once a month.
func (i *issuer) session(ctx context.Context) (*acme.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	key, err := i.accountKey()
	if err != nil {
		return nil, err
	}
	c := &acme.Client{Key: key, HTTPClient: i.http, DirectoryURL: i.c.Directory, UserAgent: "stoa", RetryBackoff: requestRetry}
	account := &acme.Account{}
	if i.c.Email != "" {
		account.Contact = []string{"mailto:" + i.c.Email}
	}
	if a := i.c.Account; a != nil {
		mac, err := macKey(a.KeyFile)
		if err != nil {
			return nil, err
		}
		account.ExternalAccountBinding = &acme.ExternalAccountBinding{KID: a.ID, Key: mac}
	}
	terms := ""
	_, err = c.Register(ctx, account, func(url string) bool { terms = url; return i.c.Agree })
	switch {
	case errors.Is(err, acme.ErrAccountAlreadyExists):
		return c, nil
	case err != nil && terms != "" && !i.c.Agree:
		return nil, &fault.Error{Op: "certs.register", Subject: i.c.Directory, Kind: fault.Denied,
			Err: fmt.Errorf("the server's terms of service are not agreed to: %s", terms), Hint: "Read them, and set acme.agree: true."}
	case err != nil:
		return nil, err
	}
	return c, nil
}

// accountKey reads the account's key, or makes one.
func (i *issuer) accountKey() (crypto.Signer, error) {
	path := filepath.Join(i.dir, "account.key")
	b, err := secret(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		if err := writeFile(path, encode("PRIVATE KEY", der), 0o600); err != nil {
			return nil, err // an account whose key is lost is opened in vain
		}
		return key, nil
	} else if err != nil {
		return nil, err
	}
	key, err := accountKeyOf(b)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, &fault.Error{Op: "certs.register", Subject: path, Kind: fault.Invalid, Err: errors.Join(errors.New("no private key"), err),
			Hint: "Restore it from a backup, or remove it: the next attempt opens a new account."}
	}
	return signer, nil
}

// macKey reads the key of an external account: base64url, with padding or without.
func macKey(path string) ([]byte, error) {
	b, err := readFile(path)
	if err == nil {
		b, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(string(b)), "="))
	}
	if err != nil || len(b) == 0 {
		return nil, &fault.Error{Op: "certs.register", Subject: path, Kind: fault.Invalid, Err: errors.Join(errors.New("no key in base64url"), err),
			Hint: "Put the MAC key there as the server's operator gave it."}
	}
	return b, nil
}

// attempt gets a certificate for h. The first attempt tries both kinds of challenge, so that
// a gateway behind one port alone starts without waiting; later ones take turns.
func (i *issuer) attempt(ctx context.Context, c *acme.Client, h *acmeHost) (*issued, error) {
	kinds := []string{tlsALPN, http01}
	switch t := h.turn; {
	case i.c.Challenge != "":
		kinds = []string{i.c.Challenge}
	case t.worked != "" && t.fails == 0:
		kinds = []string{t.worked}
	case t.fails > 0:
		kinds = []string{kinds[t.fails%2]}
	}
	var failed error
	for _, kind := range kinds {
		octx, cancel := context.WithTimeout(ctx, attemptTime)
		got, err := i.order(octx, c, h.name, kind)
		cancel()
		switch {
		case err == nil:
			h.turn.worked = kind
			return got, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", kind, err))
		if !checkFailed(err) && !errors.Is(err, errNotOffered) {
			break // the other kind would not fare better
		}
	}
	return nil, failed
}

var errNotOffered = errors.New("the server does not offer this challenge")

// issued is what an order brought.
type issued struct {
	cert *tls.Certificate
	pem  []byte // as it is kept: key, certificate, chain
}

// order goes through one order: authorise, answer, finalise, check.
func (i *issuer) order(ctx context.Context, c *acme.Client, host, kind string) (*issued, error) {
	var options []acme.OrderOption
	if i.c.Profile != "" {
		options = append(options, acme.WithOrderIssuanceProfile(acme.ProfileName(i.c.Profile)))
	}
	o, err := c.AuthorizeOrder(ctx, acme.DomainIDs(host), options...)
	if err != nil {
		return nil, err
	}
	for _, url := range o.AuthzURLs {
		if err := i.authorise(ctx, c, url, host, kind); err != nil {
			return nil, err
		}
	}
	if o, err = c.WaitOrder(ctx, o.URI); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{host}}, key)
	if err != nil {
		return nil, err
	}
	chain, _, err := c.CreateCertFromOrder(ctx, o, csr, true)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	b := pemOf(der, chain)
	cert, err := parseKept(b, host)
	if err != nil {
		return nil, fmt.Errorf("what the server issued cannot be used: %w", err)
	}
	if err := outOfTime(cert, i.o.Now()); err != nil {
		return nil, fmt.Errorf("what the server issued cannot be used (is this machine's clock right?): %w", err)
	}
	return &issued{cert, b}, nil
}

// authorise answers the server's question for one authorisation, unless it was answered
// lately. What it leaves pending is given up, because servers count these.
func (i *issuer) authorise(ctx context.Context, c *acme.Client, url, host, kind string) (err error) {
	z, err := c.GetAuthorization(ctx, url)
	if err != nil || z.Status == acme.StatusValid {
		return err
	}
	defer func() {
		if err != nil && !checkFailed(err) {
			gctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // also when stopped: it is one request
			defer cancel()
			c.RevokeAuthorization(gctx, url) // a failure leaves it to the server to forget
		}
	}()
	at := slices.IndexFunc(z.Challenges, func(ch *acme.Challenge) bool { return ch.Type == kind })
	if at < 0 {
		return errNotOffered
	}
	ch := z.Challenges[at]
	done, err := i.open.provide(c, ch, host)
	if err != nil {
		return err
	}
	defer done()
	if _, err := c.Accept(ctx, ch); err != nil {
		return err
	}
	_, err = c.WaitAuthorization(ctx, url)
	return err
}
