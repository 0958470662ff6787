// Package certs gives the gateway its TLS certificates: from files, from a development CA,
// or from an ACME server.
//
//	                 ┌ files   PEM files, looked at every 2 s
//	Config ─▶ Open ─▶│ dev     a root in the data folder; a leaf for each name that is asked for
//	                 └ issuer  ACME: one certificate a host, renewed in the background
//	                     │
//	Source.TLS ── handshake: pick(hello), no I/O, no waiting for others' work
//	Source.Run ── every 2 s: look, one after the other, whatever is due by the clock
//
// A Source belongs to one listener. Open loads what there is, so that TLS serves at once;
// Run is started after the listeners, because an ACME server asks them back. A handshake
// never asks a server for a certificate: only declared hosts have any, whoever knocks.
// Timers stand still while a machine sleeps, so Run compares the clock with what is due
// instead of setting any. What was good is served until something better is: a broken file
// or a failed renewal is told in Status and in the log, once, and tried again.
//
// Nothing is ever installed into a store of the system or of a browser: Root names the file
// to trust.
//
// Limits: no OCSP stapling (Let's Encrypt has ended OCSP), no DNS-01 and therefore no
// wildcards by ACME, no renewal information of the server (RFC 9773), and no sharing of
// ACME state between nodes: each node asks for its own certificates. How long to wait after
// failures is not kept across a restart.
package certs

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"stoa/api/fault"
)

// Options tune a Source. The zero value works for files; dev and ACME need Dir.
type Options struct {
	Dir   string           // a folder for this Source's keys; made with mode 0700 when something is kept
	Hosts []string         // names and addresses that the gateway answers for besides localhost: the development root may issue for these, too
	Log   *slog.Logger     // nil means slog.Default()
	Now   func() time.Time // nil means time.Now
	Every time.Duration    // how often Run looks at files and clock; 0 means 2 s
}

// A Source gives a listener its certificates. All methods may be called concurrently; Run once.
type Source struct {
	from  supply
	acme  *issuer    // nil unless certificates come by ACME
	root  *authority // nil unless they come from the development CA
	every time.Duration
}

// A supply is one of the places where certificates come from.
type supply interface {
	// pick gives the certificate for a handshake, nil if there is none for its name. It is
	// called concurrently and does no I/O.
	pick(hello *tls.ClientHelloInfo) (*tls.Certificate, error)
	// look does what is due. Calls do not overlap; it returns soon after ctx ends.
	look(ctx context.Context)
	status() []Status
}

// Status tells of one certificate.
type Status struct {
	From      string    `json:"from"`            // "files", "dev" or "acme"
	Hosts     []string  `json:"hosts"`           // what it is for: of dev, what the root may issue for
	Issuer    string    `json:"issuer"`          // who signed it; empty: there is none yet
	NotBefore time.Time `json:"notBefore"`       // zero: there is none yet
	NotAfter  time.Time `json:"notAfter"`        // after it clients refuse the certificate
	Due       time.Time `json:"due"`             // when it is to be replaced: if it is past, something or someone has failed to
	Path      string    `json:"path,omitempty"`  // its file; of dev, the root to trust
	Error     string    `json:"error,omitempty"` // why it is not as it should be; what is told above is still served
	Hint      string    `json:"hint,omitempty"`  // what to do about the error
	Next      time.Time `json:"next,omitzero"`   // when an ACME server is asked next
}

// Open loads the certificates that c names, or makes what the development CA needs. It
// fails with Invalid if a file is broken, NotFound if it is missing, Denied if a key of ours
// lies open to others. A host without a certificate by ACME is no failure: Run gets one.
func Open(c Config, o Options) (*Source, error) {
	var problem error
	c.Check(func(path, text, hint string) {
		if problem == nil {
			problem = &fault.Error{Op: "certs.open", Subject: cmp.Or(path, "tls"), Kind: fault.Invalid, Err: errors.New(text), Hint: hint}
		}
	})
	if problem != nil {
		return nil, problem
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Log = o.Log.With("part", "certs")
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Source{every: cmp.Or(o.Every, 2*time.Second)}
	switch {
	case c.Dev:
		d, err := openDev(o)
		if err != nil {
			return nil, err
		}
		s.from, s.root = d, d.root
	case c.ACME != nil:
		i, err := openIssuer(*c.ACME, o)
		if err != nil {
			return nil, err
		}
		s.from, s.acme = i, i
	default:
		f, err := openFiles(append([]Pair{{c.Cert, c.Key}}, c.More...), o)
		if err != nil {
			return nil, err
		}
		s.from = f
	}
	return s, nil
}

// TLS gives a configuration for the listener: TLS 1.2 and 1.3 with the library's choice of
// suites, curves and session tickets, HTTP/2 and HTTP/1.1. Make one and keep it: the keys of
// session tickets live in it. A caller may change it before its first use.
//
// A handshake that an ACME server makes to check a host (RFC 8737) negotiates acme-tls/1,
// and only then: close such a connection after the handshake, see Checked.
func (s *Source) TLS() *tls.Config {
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: s.GetCertificate,
	}
	if s.acme != nil {
		c.GetConfigForClient = s.acme.challenged
	}
	return c
}

// GetCertificate gives the certificate for a handshake. For a name that none is for it gives
// nil, whereupon the library answers with unrecognized_name.
func (s *Source) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.from.pick(hello)
}

// Run is the work of a life.Part: it reads changed files, renews what expires and asks an
// ACME server for what is missing, until ctx ends. Start it after the listeners that use it.
func (s *Source) Run(ctx context.Context, ready func()) error {
	ready()
	if s.acme != nil {
		defer s.acme.http.CloseIdleConnections()
	}
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		s.from.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Status tells of each certificate, in the order of the configuration.
func (s *Source) Status() []Status { return s.from.status() }

// Root gives the path of the development CA's root, as for curl --cacert; "" if the
// certificates come from elsewhere.
func (s *Source) Root() string {
	if s.root == nil {
		return ""
	}
	return s.root.path
}

// challengePrefix is where an ACME server asks on port 80: RFC 8555, section 8.3.
const challengePrefix = "/.well-known/acme-challenge/"

// Answer gives the body of the answer to a GET on the plain listener if an ACME server asks
// for it by path, with status 200 and Content-Type application/octet-stream. While no
// challenge is open it costs one comparison, and paths of others' challenges are left to
// whom they are routed.
func (s *Source) Answer(path string) (body string, ok bool) {
	if s.acme == nil || len(path) <= len(challengePrefix) || path[:len(challengePrefix)] != challengePrefix {
		return "", false
	}
	return s.acme.answer(path)
}

// Challenge answers r if it is an ACME server's question, as Answer, and says whether it did.
func (s *Source) Challenge(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	body, ok := s.Answer(r.URL.Path)
	if !ok {
		return false
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Write([]byte(body)) // a failure is the asker's, who will ask again
	return true
}

// Checked says whether a finished handshake was an ACME server's check of a host: such a
// connection carries nothing and is to be closed.
func Checked(state tls.ConnectionState) bool { return state.NegotiatedProtocol == alpnProto }

// in gives the path of a file of ours.
func (o Options) in(names ...string) string {
	return filepath.Join(append([]string{o.Dir}, names...)...)
}
