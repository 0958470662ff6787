package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"stoa/api/fault"
)

// files gives certificates from PEM files. A file is read again when its stat has changed;
// what is broken then is told, and what was good stays.
type files struct {
	pairs []*pair // owned by look, and before that by openFiles
	log   *slog.Logger
	now   func() time.Time
	view  atomic.Pointer[filesView]
}

// A filesView is what handshakes and status read. It never changes.
type filesView struct {
	certs  []*tls.Certificate // one for each pair, in their order
	status []Status
}

// A pair is two files and what came of them.
type pair struct {
	Pair
	seen  [2]fs.FileInfo // when cert and key were read last; nil: not there
	young bool           // a file was so young that another write may bear the same time
	cert  *tls.Certificate
	err   error // why the files are not what is served
}

// ripe is the age from which a file's time tells it from a later write: file systems stamp
// with the kernel's last tick, and some with whole seconds.
const ripe = 2 * time.Second

func openFiles(pairs []Pair, o Options) (*files, error) {
	f := &files{log: o.Log, now: o.Now}
	for _, p := range pairs {
		n := &pair{Pair: p}
		f.pairs = append(f.pairs, n)
		n.note()
		if n.cert, n.err = n.Load(); n.err != nil {
			return nil, n.err
		}
		if expired := outOfTime(n.cert, f.now()); expired != nil {
			f.log.Warn("a certificate is served that clients refuse", "file", n.Cert, "error", expired)
		}
	}
	f.publish()
	return f, nil
}

func (f *files) pick(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	certs := f.view.Load().certs
	if len(certs) > 1 {
		for _, c := range certs {
			if hello.SupportsCertificate(c) == nil {
				return c, nil
			}
		}
	}
	return certs[0], nil // a client that wants another name says so better than we could
}

func (f *files) look(context.Context) {
	changed := false
	for _, p := range f.pairs {
		if !p.note() && p.err == nil { // what is not valid yet becomes so without a change
			continue
		}
		old := p.err
		cert, err := p.Load()
		if err == nil && outOfTime(p.cert, f.now()) == nil {
			if bad := outOfTime(cert, f.now()); bad != nil {
				err = &fault.Error{Op: "certs.read", Subject: p.Cert, Kind: fault.Invalid, Err: bad,
					Hint: "Put a certificate there that is valid now; the one before is served until it is."}
			}
		}
		switch p.err = err; {
		case err != nil && (old == nil || old.Error() != err.Error()):
			f.log.Error("a changed certificate is not used; the one before stays", "error", err, "hint", fault.HintOf(err))
		case err == nil && (old != nil || !equal(p.cert, cert)):
			f.log.Info("a changed certificate is used", "file", p.Cert, "until", cert.Leaf.NotAfter)
		}
		if err == nil {
			p.cert = cert
		}
		changed = true
	}
	if changed {
		f.publish()
	}
}

// publish makes what the pairs are now visible to handshakes and status.
func (f *files) publish() {
	v := &filesView{}
	for _, p := range f.pairs {
		v.certs = append(v.certs, p.cert)
		s := Status{From: "files", Path: p.Cert}
		s.describe(p.cert)
		s.fail(p.err)
		v.status = append(v.status, s)
	}
	f.view.Store(v)
}

func (f *files) status() []Status {
	v := f.view.Load()
	all := make([]Status, len(v.status))
	for i, s := range v.status {
		if bad := outOfTime(v.certs[i], f.now()); bad != nil && s.Error == "" {
			s.Error, s.Hint = bad.Error(), "Replace "+s.Path+" and its key."
		}
		all[i] = s
	}
	return all
}

// note takes the stat of both files and says whether they have to be read (again).
func (p *pair) note() bool {
	read := p.young
	p.young = false
	for i, path := range []string{p.Cert, p.Key} {
		info, err := os.Stat(path)
		if err != nil {
			info = nil
		}
		old := p.seen[i]
		switch {
		case info == nil || old == nil:
			read = read || (info == nil) != (old == nil)
		case !os.SameFile(info, old) || info.Size() != old.Size() || !info.ModTime().Equal(old.ModTime()):
			read = true
		}
		// File systems have no seam for time: their clock is the machine's.
		if info != nil && time.Since(info.ModTime()) < ripe {
			p.young = true
		}
		p.seen[i] = info
	}
	return read
}

// Load reads both files. What is wrong is an error whose subject is the file: NotFound, Denied,
// or Invalid, with what to do.
func (p Pair) Load() (*tls.Certificate, error) {
	bad := func(path string, err error) error {
		kind, hint := fault.Invalid, "Put the certificate and its chain, and the key, into the files as PEM."
		switch {
		case errors.Is(err, fs.ErrNotExist):
			kind, hint = fault.NotFound, "Put the file there, or name another."
		case errors.Is(err, fs.ErrPermission):
			kind, hint = fault.Denied, "Let the user that runs stoa read it."
		}
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err // the path is the subject
		}
		return &fault.Error{Op: "certs.read", Subject: path, Kind: kind, Err: err, Hint: hint}
	}
	chain, err := readFile(p.Cert)
	if err != nil {
		return nil, bad(p.Cert, err)
	}
	key, err := readFile(p.Key)
	if err != nil {
		return nil, bad(p.Key, err)
	}
	c, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, bad(p.Cert, fmt.Errorf("with %s: %w", p.Key, err))
	}
	return &c, nil
}
