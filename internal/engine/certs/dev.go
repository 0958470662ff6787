package certs

import (
	"container/list"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Lives and bounds of development leaves.
const (
	leafLife  = 30 * 24 * time.Hour // browsers refuse more than 825 days even of a root one added; less is safer
	leafRenew = 10 * 24 * time.Hour // before its end the next handshake gets a new one
	maxLeaves = 256                 // kept: the least recently used goes; whoever knocks with names without end makes no more
)

// dev is the development CA: a root in the data folder, and leaves in memory that are made
// for each name (or address) when it is first asked for. All leaves share one key, made at
// the start, so that a leaf costs one signature.
type dev struct {
	root *authority
	key  *ecdsa.PrivateKey
	now  func() time.Time

	mu     sync.Mutex
	byName map[string]*list.Element // of *leaf; guarded by mu
	recent *list.List               // the most recently used first; guarded by mu
}

// A leaf is a certificate for one name.
type leaf struct {
	name  string
	until time.Time // from then on another is made
	made  func() (*tls.Certificate, error)
}

func openDev(o Options) (*dev, error) {
	root, made, err := openAuthority(o)
	if err != nil {
		return nil, err
	}
	if made != "" {
		o.Log.Info("a new development root is to be trusted by clients", "because", made, "file", root.path, "as in", "curl --cacert "+root.path)
	}
	d := &dev{root: root, now: o.Now, byName: map[string]*list.Element{}, recent: list.New()}
	d.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return d, err
}

func (d *dev) look(context.Context) {} // leaves are made and renewed by handshakes

func (d *dev) status() []Status { return []Status{d.root.status(d.now())} }

func (d *dev) pick(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := d.nameFor(hello)
	d.mu.Lock()
	if at := d.byName[name]; at != nil {
		if l := at.Value.(*leaf); d.now().Before(l.until) {
			d.recent.MoveToFront(at)
			d.mu.Unlock()
			return l.made()
		}
		d.drop(at)
	}
	now := d.now()
	l := &leaf{name: name, until: now.Add(leafLife - leafRenew)}
	l.made = sync.OnceValues(func() (*tls.Certificate, error) { return d.sign(name, now) })
	d.byName[name] = d.recent.PushFront(l)
	if d.recent.Len() > maxLeaves {
		d.drop(d.recent.Back())
	}
	d.mu.Unlock()
	return l.made() // whoever comes first signs, the others wait for it
}

// drop forgets a leaf. The caller holds d.mu.
func (d *dev) drop(at *list.Element) {
	delete(d.byName, at.Value.(*leaf).name)
	d.recent.Remove(at)
}

// nameFor gives the name or address that the leaf for hello is to bear. Who asks for what
// the root may not issue for gets the leaf of localhost: its own complaint about the name
// says more than an alert of ours.
func (d *dev) nameFor(hello *tls.ClientHelloInfo) string {
	if hello.ServerName != "" {
		name := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
		if validName(name) && d.root.mayName(name) {
			return name
		}
		return "localhost"
	}
	// Clients name no addresses (RFC 6066, section 3): which they came to is what they asked for.
	if hello.Conn != nil {
		if a, ok := hello.Conn.LocalAddr().(*net.TCPAddr); ok {
			ip := a.AddrPort().Addr().WithZone("").Unmap()
			if d.root.mayAddr(ip) {
				return ip.String()
			}
		}
	}
	return "localhost"
}

// sign makes the leaf for name.
func (d *dev) sign(name string, now time.Time) (*tls.Certificate, error) {
	t := &x509.Certificate{
		Subject:     pkix.Name{Organization: []string{"Stoa development"}},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if t.NotBefore.Before(d.root.cert.NotBefore) {
		t.NotBefore = d.root.cert.NotBefore
	}
	if t.NotAfter.After(d.root.cert.NotAfter) {
		t.NotAfter = d.root.cert.NotAfter
	}
	switch ip, err := netip.ParseAddr(name); {
	case name == "localhost":
		t.DNSNames = []string{name}
		t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	case err == nil:
		t.IPAddresses = []net.IP{ip.AsSlice()}
	default:
		t.DNSNames = []string{name}
	}
	var err error
	if t.SerialNumber, err = serial(); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, d.root.cert, d.key.Public(), d.root.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: d.key, Leaf: parsed}, nil
}

// serial gives 127 random bits: RFC 5280 wants a positive number of at most 20 bytes.
func serial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return n.Add(n, big.NewInt(1)), nil
}
