package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"stoa/api/fault"
)

// issuer gets certificates from an ACME server, and keeps them in the data folder:
//
//	acme/<server>/account.key   the account's key; 0600
//	acme/<server>/<host>.pem    key, certificate, chain; 0600: written whole, so that they fit
//
// One order runs at a time. What is due is renewed when a third of its life is left (half, if
// it lives less than ten days), which leaves a failing server weeks.
type issuer struct {
	c    ACME
	o    Options
	dir  string // of this server
	http *http.Client
	log  *slog.Logger

	hosts  []*acmeHost // in the order of the configuration; the list never changes
	byName map[string]*acmeHost
	open   challenges

	// The account's turn to wait, when nothing can be asked at all; owned by look.
	account turn
}

// An acmeHost is one declared host.
type acmeHost struct {
	name string

	mu   sync.Mutex
	cert *tls.Certificate // nil: none yet; guarded by mu
	err  error            // why the last attempt failed; guarded by mu
	next time.Time        // when the next attempt is due; guarded by mu

	turn turn // owned by look
}

// attemptTime bounds one attempt for one host: a server that validates from several places
// takes some ten seconds.
const attemptTime = 3 * time.Minute

func openIssuer(c ACME, o Options) (*issuer, error) {
	if o.Dir == "" {
		return nil, &fault.Error{Op: "certs.open", Kind: fault.Internal, Err: errNoDir}
	}
	if c.Directory == "" {
		c.Directory = LetsEncrypt
	}
	i := &issuer{c: c, o: o, dir: o.in("acme", folderOf(c.Directory)), log: o.Log, byName: map[string]*acmeHost{}}
	transport := http.DefaultTransport.(*http.Transport).Clone() // with the proxy of the environment
	transport.MaxConnsPerHost = 4
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		b, err := readFile(c.CA)
		pool := x509.NewCertPool()
		if err == nil && !pool.AppendCertsFromPEM(b) {
			err = errors.New("no certificate in it")
		}
		if err != nil {
			return nil, &fault.Error{Op: "certs.open", Subject: c.CA, Kind: fault.Invalid, Err: err, Hint: "Put the roots of the ACME server there as PEM, or take acme.ca away."}
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	i.http = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	for _, name := range c.Hosts {
		h := &acmeHost{name: name}
		cert, err := i.kept(name)
		switch {
		case err == nil:
			h.cert, h.next = cert, renewAt(cert.Leaf)
		case errors.Is(err, fs.ErrNotExist):
		default:
			i.log.Warn("a kept certificate is not used: another is asked for", "host", name, "error", err)
		}
		i.hosts = append(i.hosts, h)
		i.byName[name] = h
	}
	return i, nil
}

func (i *issuer) pick(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	h := i.byName[strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))]
	if h == nil {
		return nil, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cert == nil {
		return nil, &fault.Error{Op: "certs.pick", Subject: h.name, Kind: fault.Unavailable, Err: errors.Join(errors.New("no certificate yet"), h.err)}
	}
	return h.cert, nil
}

// look asks for what is due, the certificates that are missing or end first before others.
func (i *issuer) look(ctx context.Context) {
	now := i.o.Now()
	if i.account.waits(now) {
		return
	}
	var due []*acmeHost
	for _, h := range i.hosts {
		h.mu.Lock()
		if !now.Before(h.next) {
			due = append(due, h)
		}
		h.mu.Unlock()
	}
	if len(due) == 0 {
		return
	}
	slices.SortStableFunc(due, func(a, b *acmeHost) int { return a.ends().Compare(b.ends()) })

	s, err := i.session(ctx)
	if ctx.Err() != nil {
		return // stopped, not failed
	}
	if err != nil {
		next := i.account.failed(i.o.Now(), err)
		err = told(i.c.Directory, err)
		i.log.Error("the ACME server cannot be asked for certificates", "error", err, "hint", fault.HintOf(err), "next", next)
		for _, h := range due {
			h.mu.Lock()
			h.err, h.next = err, next
			h.mu.Unlock()
		}
		return
	}
	i.account = turn{}
	for _, h := range due {
		got, err := i.attempt(ctx, s, h)
		if got == nil && ctx.Err() != nil {
			return
		}
		i.settle(h, got, err)
	}
}

// settle notes what an attempt brought.
func (i *issuer) settle(h *acmeHost, got *issued, err error) {
	now := i.o.Now()
	if err != nil {
		next := h.turn.failed(now, err)
		err = told(h.name, err)
		i.log.Error("no certificate was issued", "host", h.name, "error", err, "hint", fault.HintOf(err), "next", next)
		h.mu.Lock()
		h.err, h.next = err, next
		h.mu.Unlock()
		return
	}
	h.turn = turn{worked: h.turn.worked}
	// What cannot be kept is served all the same: asking again would bring the same, until
	// the server refuses.
	kept := writeFile(i.hostFile(h.name), got.pem, 0o600)
	leaf := got.cert.Leaf
	// A clock that is wrong makes new certificates look old: they are not asked for in a loop.
	next := renewAt(leaf)
	if soonest := now.Add(min(time.Hour, leaf.NotAfter.Sub(leaf.NotBefore)/4)); next.Before(soonest) {
		next = soonest
	}
	h.mu.Lock()
	h.cert, h.err, h.next = got.cert, kept, next
	h.mu.Unlock()
	i.log.Info("a certificate was issued", "host", h.name, "until", leaf.NotAfter, "issuer", leaf.Issuer.CommonName)
	if kept != nil {
		i.log.Error("an issued certificate could not be kept: the next start asks for another", "host", h.name, "error", kept, "hint", fault.HintOf(kept))
	}
}

// ends gives when the host's certificate does, the zero time if it has none.
func (h *acmeHost) ends() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cert == nil {
		return time.Time{}
	}
	return h.cert.Leaf.NotAfter
}

// renewAt gives when leaf is to be replaced: when a third of its life is left, or half of one
// below ten days, and up to a thirtieth earlier, so that what was issued together does not
// come back together.
func renewAt(leaf *x509.Certificate) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	left := life / 3
	if life < 10*24*time.Hour {
		left = life / 2
	}
	h := fnv.New32a()
	h.Write(leaf.SerialNumber.Bytes())
	return leaf.NotAfter.Add(-left - life/30*time.Duration(h.Sum32()%1000)/1000)
}

// kept reads the certificate of host that lies in the folder.
func (i *issuer) kept(host string) (*tls.Certificate, error) {
	b, err := secret(i.hostFile(host))
	if err != nil {
		return nil, err
	}
	return parseKept(b, host)
}

// parseKept reads a key with its chain, as writeFile has written them, for host.
func parseKept(b []byte, host string) (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(b, b)
	if err != nil {
		return nil, err
	}
	if err := c.Leaf.VerifyHostname(host); err != nil {
		return nil, err
	}
	return &c, nil
}

func (i *issuer) hostFile(host string) string { return filepath.Join(i.dir, host+".pem") }

// folderOf gives a name for what was had from one server: its host and a hash of the URL, so
// that what a server for tests has issued is never served in place of the real one's.
func folderOf(directory string) string {
	host := strings.TrimPrefix(directory, "https://")
	if at := strings.IndexAny(host, "/?"); at >= 0 {
		host = host[:at]
	}
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, host)
	h := fnv.New32a()
	h.Write([]byte(directory))
	return fmt.Sprintf("%s-%08x", safe, h.Sum32())
}

func (i *issuer) status() []Status {
	now := i.o.Now()
	var all []Status
	for _, h := range i.hosts {
		s := Status{From: "acme", Path: i.hostFile(h.name)}
		h.mu.Lock()
		if h.cert != nil {
			s.describe(h.cert)
			s.Due = renewAt(h.cert.Leaf)
		}
		s.fail(h.err)
		s.Next = h.next
		expired := h.cert != nil && outOfTime(h.cert, now) != nil
		if s.Error == "" && h.cert == nil {
			s.Error, s.Hint = "no certificate yet", "Wait for the ACME server; it asks back on port 443 or 80."
		} else if s.Error == "" && expired {
			s.Error = outOfTime(h.cert, now).Error()
		}
		h.mu.Unlock()
		s.Hosts = []string{h.name}
		all = append(all, s)
	}
	return all
}

// pemOf gives what is kept of a certificate.
func pemOf(keyDER []byte, chain [][]byte) []byte {
	return append(encode("PRIVATE KEY", keyDER), encode("CERTIFICATE", chain...)...)
}

// accountKeyOf reads the account's key.
func accountKeyOf(b []byte) (any, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("no PEM")
	}
	return x509.ParsePKCS8PrivateKey(block.Bytes)
}
