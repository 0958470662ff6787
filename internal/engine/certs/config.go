package certs

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Config says where the certificates of one listener come from: files (Cert and Key, and
// More), the development CA (Dev), or an ACME server (ACME); one of the three. It is plain
// data that snapshots keep; paths are absolute, or relative to the node's working folder.
type Config struct {
	Cert string `json:"cert,omitempty"` // PEM file: the certificate, then its chain
	Key  string `json:"key,omitempty"`  // PEM file: its private key (PKCS #8, PKCS #1 or SEC 1), not encrypted
	More []Pair `json:"more,omitempty"` // further pairs, chosen by server name; at most 100
	Dev  bool   `json:"dev,omitempty"`
	ACME *ACME  `json:"acme,omitempty"`
}

// A Pair is a certificate with its key, as files.
type Pair struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// ACME says which server issues certificates for which hosts (RFC 8555). Each host has a
// certificate of its own, so that one whose DNS is wrong does not keep the others from theirs.
type ACME struct {
	Directory string   `json:"directory,omitempty"` // the server's directory, https; empty means LetsEncrypt
	CA        string   `json:"ca,omitempty"`        // PEM file of roots by which a private server is known; empty means the system's
	Email     string   `json:"email,omitempty"`     // where the server may write to; optional
	Agree     bool     `json:"agree,omitempty"`     // the server's terms of service are agreed to; servers without terms do not ask
	Hosts     []string `json:"hosts,omitempty"`     // 1 to 100 host names in ASCII, lower case; no others are ever asked for
	Challenge string   `json:"challenge,omitempty"` // "tls-alpn-01" (port 443) or "http-01" (port 80); empty means whichever works
	Profile   string   `json:"profile,omitempty"`   // the server's certificate profile ("shortlived"); empty means its default
	Account   *Account `json:"account,omitempty"`   // for servers that want an account of theirs to be named
}

// Account binds the ACME account to one that the server's operator gave out: external
// account binding, RFC 8555, section 7.3.4.
type Account struct {
	ID      string `json:"id"`
	KeyFile string `json:"keyFile"` // file with the MAC key in base64url
}

// LetsEncrypt is the directory that is asked when none is named.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Bounds of what can be declared.
const (
	maxPairs = 100
	maxHosts = 100 // each is an order of its own; Let's Encrypt grants 50 a week under one registered domain
)

// Check calls bad for everything that is wrong with c, each with the path of its field.
// It reads no file.
func (c Config) Check(bad func(path, text, hint string)) {
	fromFiles := c.Cert != "" || c.Key != "" || len(c.More) > 0
	n := 0
	for _, is := range []bool{fromFiles, c.Dev, c.ACME != nil} {
		if is {
			n++
		}
	}
	switch {
	case n == 0:
		bad("", "no certificate is named", "Give cert and key, or acme, or dev: true.")
	case n > 1:
		bad("", "certificates come from one place: files, dev or acme", "Take all but one of them away.")
	}
	if fromFiles {
		checkPair("", Pair{c.Cert, c.Key}, bad)
	}
	if len(c.More) > maxPairs {
		bad("more", fmt.Sprintf("%d pairs, at most %d", len(c.More), maxPairs), "Use certificates that name several hosts.")
	}
	for i, p := range c.More {
		checkPair(fmt.Sprintf("more[%d].", i), p, bad)
	}
	if c.ACME != nil {
		c.ACME.check(bad)
	}
}

func checkPair(at string, p Pair, bad func(path, text, hint string)) {
	if p.Cert == "" {
		bad(at+"cert", "a key without its certificate", "Name the PEM file of the certificate and its chain.")
	}
	if p.Key == "" {
		bad(at+"key", "a certificate without its key", "Name the PEM file of the private key.")
	}
}

func (a *ACME) check(bad func(path, text, hint string)) {
	if a.Directory != "" {
		u, err := url.Parse(a.Directory)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			bad("acme.directory", fmt.Sprintf("%q is no https URL", a.Directory), "Take it from the server's documentation, as in "+LetsEncrypt+".")
		}
	}
	if !a.Agree && a.public() {
		bad("acme.agree", "the server's terms of service are not agreed to", "Read them at https://letsencrypt.org/repository and set agree: true.")
	}
	if at := strings.IndexByte(a.Email, '@'); a.Email != "" && (at < 1 || at == len(a.Email)-1 || strings.ContainsAny(a.Email, " \t\r\n<>,:?")) {
		bad("acme.email", fmt.Sprintf("%q is no address", a.Email), "Write name@example.com, or leave it away.")
	}
	switch a.Challenge {
	case "", tlsALPN, http01:
	default:
		bad("acme.challenge", fmt.Sprintf("%q is no challenge that the gateway can answer", a.Challenge), "Use tls-alpn-01 or http-01, or leave it away.")
	}
	if strings.ContainsAny(a.Profile, " \t\r\n") || len(a.Profile) > 64 {
		bad("acme.profile", fmt.Sprintf("%q is no name of a profile", a.Profile), "Use one that the server's directory lists.")
	}
	if a.Account != nil && (a.Account.ID == "" || a.Account.KeyFile == "") {
		bad("acme.account", "an account has an id and a keyFile", "Take both from the server's operator.")
	}
	switch n := len(a.Hosts); {
	case n == 0:
		bad("acme.hosts", "no host is named", "List the host names that the gateway answers for.")
	case n > maxHosts:
		bad("acme.hosts", fmt.Sprintf("%d hosts, at most %d", n, maxHosts), "Share them between listeners.")
	}
	for i, h := range a.Hosts {
		at := fmt.Sprintf("acme.hosts[%d]", i)
		_, noIP := netip.ParseAddr(h)
		switch {
		case noIP == nil:
			bad(at, h+" is an address", "Name a host: certificates for addresses are not asked for.")
		case strings.HasPrefix(h, "*."):
			bad(at, h+" needs a challenge by DNS, which the gateway cannot answer", "List each host, or use cert and key.")
		case h != strings.ToLower(h):
			bad(at, h+" is not in lower case", "Write "+strings.ToLower(h)+".")
		case !validName(h):
			bad(at, fmt.Sprintf("%q is no host name", h), "Write it in ASCII (xn--...), without port and closing dot.")
		case a.public() && private(h):
			bad(at, h+" is no public name: "+"no public server issues for it", "Use dev: true, or the directory of a private server.")
		case slices.Index(a.Hosts, h) < i:
			bad(at, h+" is listed twice", "Take one away.")
		}
	}
}

// public says whether the server is one that issues for the public DNS only.
func (a *ACME) public() bool {
	u, err := url.Parse(a.Directory)
	return a.Directory == "" || err == nil && strings.HasSuffix(u.Hostname(), ".letsencrypt.org")
}

// private says whether no registry of the public DNS will ever have h: RFC 2606, RFC 6762
// and ICANN's reservation of internal.
func private(h string) bool {
	last := h[strings.LastIndexByte(h, '.')+1:]
	return last == h || slices.Contains([]string{"localhost", "local", "internal", "test", "invalid", "example", "onion", "arpa"}, last)
}

// validName says whether h is a host name in ASCII: labels of 1 to 63 letters, digits,
// hyphens and (as browsers allow) underscores, 253 bytes in all, no closing dot, the last
// label not all digits. Letters may be of any case.
func validName(h string) bool {
	if len(h) == 0 || len(h) > 253 {
		return false
	}
	digits := true
	for label := range strings.SplitSeq(h, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		digits = true
		for _, c := range []byte(label) {
			switch {
			case c >= '0' && c <= '9':
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_':
				digits = false
			default:
				return false
			}
		}
	}
	return !digits
}
