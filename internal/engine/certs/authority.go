package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"stoa/api/fault"
)

// The files of the development CA.
const (
	rootFile = "dev-root.pem" // to be trusted: may be read by all who reach the folder
	keyFile  = "dev-root.key" // PKCS #8, mode 0600
)

// Lives of the development CA's certificates.
const (
	rootLife  = 5 * 365 * 24 * time.Hour
	rootRenew = 60 * 24 * time.Hour // before its end a new root is made at the next start
	backdate  = time.Hour           // by which clocks of clients may lag
)

// An authority is a root of ours: an ECDSA P-256 key and a certificate that may only sign
// certificates of servers, for localhost and below, loopback addresses, and the hosts that
// the gateway answers for (critical name constraints, RFC 5280, section 4.2.1.10). Whoever
// trusts it trusts it for nothing else, even if its key is stolen.
type authority struct {
	path string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	ips  []netip.Prefix
}

// loopback are the addresses that every root may issue for.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// permitted sorts out what a root may issue for besides loopback addresses. A constraint on
// a name stands for all names below it, too; hosts that are neither names nor addresses are
// left out.
func permitted(hosts []string) (names []string, ips []netip.Prefix) {
	names, ips = []string{"localhost"}, slices.Clone(loopback)
	for _, h := range hosts {
		h = strings.TrimPrefix(strings.ToLower(h), "*.")
		if a, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil {
			a = a.WithZone("").Unmap()
			if p := netip.PrefixFrom(a, a.BitLen()); !a.IsUnspecified() && !slices.ContainsFunc(ips, func(have netip.Prefix) bool { return have.Contains(a) }) {
				ips = append(ips, p)
			}
			continue
		}
		if validName(h) && !slices.ContainsFunc(names, func(have string) bool { return below(h, have) }) {
			names = append(names, h)
		}
	}
	return names, ips
}

// below says whether name is zone or below it.
func below(name, zone string) bool {
	return name == zone || len(name) > len(zone) && name[len(name)-len(zone)-1] == '.' && strings.HasSuffix(name, zone)
}

// openAuthority loads the root that lies in the folder, or makes one: if there is none, if it
// ends soon, if its files do not belong together, or if it may not issue for hosts. made says
// why one was made, "" if none was.
func openAuthority(o Options) (a *authority, made string, err error) {
	if o.Dir == "" {
		return nil, "", &fault.Error{Op: "certs.open", Kind: fault.Internal, Err: errNoDir}
	}
	names, ips := permitted(o.Hosts)
	a, made, err = loadAuthority(o, names, ips)
	if err != nil || made == "" {
		return a, "", err
	}
	a, err = makeAuthority(o, names, ips)
	return a, made, err
}

// loadAuthority gives the root that lies in the folder, or why there has to be another.
func loadAuthority(o Options, names []string, ips []netip.Prefix) (a *authority, why string, err error) {
	a = &authority{path: o.in(rootFile)}
	key, err := secret(o.in(keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "there was none", nil
	} else if err != nil {
		return nil, "", openFault(o.in(keyFile), err)
	}
	cert, err := readFile(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "there was none", nil
	} else if err != nil {
		return nil, "", openFault(a.path, err)
	}
	if a.cert, a.key, err = parseAuthority(cert, key); err != nil {
		return nil, "the one before was broken: " + err.Error(), nil
	}
	if o.Now().After(a.cert.NotAfter.Add(-rootRenew)) || o.Now().Before(a.cert.NotBefore) {
		return nil, "the one before ends or starts at a wrong time", nil
	}
	for _, p := range a.cert.PermittedIPRanges {
		if ip, ok := netip.AddrFromSlice(p.IP); ok {
			ones, _ := p.Mask.Size()
			a.ips = append(a.ips, netip.PrefixFrom(ip, ones))
		}
	}
	for _, n := range names {
		if !a.mayName(n) {
			return nil, "the one before may not issue for " + n, nil
		}
	}
	for _, p := range ips {
		if !a.mayAddr(p.Addr()) {
			return nil, "the one before may not issue for " + p.Addr().String(), nil
		}
	}
	return a, "", nil
}

func openFault(path string, err error) error {
	if fault.KindOf(err) == fault.Denied {
		return err
	}
	return &fault.Error{Op: "certs.open", Subject: path, Kind: fault.Unavailable, Err: err, Hint: "Check the permissions of the data folder."}
}

func parseAuthority(certPEM, keyPEM []byte) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	cb, _ := pem.Decode(certPEM)
	kb, _ := pem.Decode(keyPEM)
	if cb == nil || kb == nil {
		return nil, nil, errors.New("no PEM")
	}
	cert, err := x509.ParseCertificate(cb.Bytes)
	if err != nil {
		return nil, nil, err
	}
	any, err := x509.ParsePKCS8PrivateKey(kb.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, ok := any.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, errors.New("key and certificate are no pair")
	}
	if !cert.IsCA || !cert.PermittedDNSDomainsCritical || len(cert.PermittedDNSDomains) == 0 || len(cert.PermittedIPRanges) == 0 {
		return nil, nil, errors.New("it is not constrained to names")
	}
	return cert, key, nil
}

func makeAuthority(o Options, names []string, ips []netip.Prefix) (*authority, error) {
	now := o.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		// The name tells roots apart in a store that several data folders have been added to.
		Subject:               pkix.Name{Organization: []string{"Stoa development"}, CommonName: fmt.Sprintf("Stoa development root %s", now.UTC().Format("2006-01-02 150405"))},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,

		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         names,
		// No mail address and no URI is below these, which closes both kinds of name.
		PermittedEmailAddresses: []string{"invalid"},
		PermittedURIDomains:     []string{"invalid"},
	}
	for _, p := range ips {
		t.PermittedIPRanges = append(t.PermittedIPRanges, &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	if t.SerialNumber, err = serial(); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	a := &authority{path: o.in(rootFile), key: key, ips: ips}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	// A crash in between leaves two files that are no pair, for which the next start makes new ones.
	if err := writeFile(o.in(keyFile), encode("PRIVATE KEY", keyDER), 0o600); err != nil {
		return nil, err
	}
	if err := writeFile(a.path, encode("CERTIFICATE", der), 0o644); err != nil {
		return nil, err
	}
	return a, nil
}

// encode gives blocks of PEM, one for each der.
func encode(kind string, ders ...[]byte) []byte {
	var b bytes.Buffer
	for _, der := range ders {
		pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}) // to memory: cannot fail
	}
	return b.Bytes()
}

// mayName says whether the root may issue for name, in lower case.
func (a *authority) mayName(name string) bool {
	return slices.ContainsFunc(a.cert.PermittedDNSDomains, func(zone string) bool { return below(name, zone) })
}

// mayAddr says whether the root may issue for ip.
func (a *authority) mayAddr(ip netip.Addr) bool {
	return slices.ContainsFunc(a.ips, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// status tells of the root: its file is what clients are to trust.
func (a *authority) status(now time.Time) Status {
	s := Status{From: "dev", Issuer: a.cert.Subject.CommonName, NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter, Due: a.cert.NotAfter.Add(-rootRenew), Path: a.path}
	for _, n := range a.cert.PermittedDNSDomains {
		s.Hosts = append(s.Hosts, n, "*."+n)
	}
	for _, p := range a.ips {
		if p.IsSingleIP() {
			s.Hosts = append(s.Hosts, p.Addr().String())
		} else {
			s.Hosts = append(s.Hosts, p.String())
		}
	}
	switch {
	case now.After(s.Due):
		s.Error, s.Hint = "the development root ends on "+a.cert.NotAfter.UTC().Format(time.DateOnly), "Start stoa again: it makes a new root, which is to be trusted anew."
	default:
		if info, err := os.Stat(a.path); err != nil || !info.Mode().IsRegular() {
			s.Error, s.Hint = "the root's file is gone", "Start stoa again: it makes a new root, which is to be trusted anew."
		}
	}
	return s
}
