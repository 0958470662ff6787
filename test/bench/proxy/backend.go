package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// backend is what all peers ask: nginx for HTTP/1.1, answer for gRPC, two endpoints each.
type backend struct {
	at        places
	web, echo *process
}

func startBackend(o *options, dir string) (*backend, error) {
	ports, err := freePorts(6)
	if err != nil {
		return nil, err
	}
	b := &backend{at: places{Dir: dir, WebA: ports[0], WebB: ports[1], EchoA: ports[2], EchoB: ports[3], Count: ports[4], EchoCount: ports[5],
		Hundred: strings.Repeat("x", sizes["100"]), Thousand: strings.Repeat("x", sizes["1k"])}}
	if err := os.MkdirAll(filepath.Join(dir, "files"), 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's worker is another user
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "files", "64k"), make([]byte, sizes["64k"]), 0o644); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "answers.conf")
	if err := fill("answers.conf", conf, b.at); err != nil {
		return nil, err
	}
	nginx := inPath("nginx", "/usr/sbin/nginx")()
	if b.web, err = launch("answers", dir, o.LoadCPU, nil, nginx, "-p", dir, "-e", filepath.Join(dir, "answers.log"), "-c", conf); err != nil {
		return nil, err
	}
	if b.echo, err = launch("answer", dir, o.LoadCPU, nil, ours("answer")(), "-a", local(b.at.EchoA), "-b", local(b.at.EchoB), "-count", local(b.at.EchoCount)); err != nil {
		b.stop()
		return nil, err
	}
	err = b.web.answers(b.at.WebA, b.at.WebB, b.at.Count)
	if err == nil {
		err = b.echo.answers(b.at.EchoA, b.at.EchoB, b.at.EchoCount)
	}
	if err != nil {
		b.stop()
	}
	return b, err
}

func (b *backend) stop() {
	b.web.stop()
	b.echo.stop()
}

func (b *backend) pids() []int { return append(b.web.pids(), b.echo.pids()...) }

// port is where a cell's requests go without a proxy; 0 if there is none, as for TLS.
func (b *backend) port(c cell) int {
	switch c.proto {
	case "h1":
		return b.at.WebA
	case "grpc":
		return b.at.EchoA
	}
	return 0
}

// counter keeps its connection, so that asking costs one request.
var counter = &http.Client{Timeout: 10 * time.Second}

// count gives how many requests of a cell's protocol were answered since the start.
func (b *backend) count(c cell) (n int64, err error) {
	port := b.at.Count
	if c.proto == "grpc" {
		port = b.at.EchoCount
	}
	resp, err := counter.Get("http://" + local(port) + "/count")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if c.proto == "grpc" {
		_, err = fmt.Sscan(string(body), &n)
		return n, err
	}
	// stub_status: three numbers below "server accepts handled requests".
	_, after, _ := strings.Cut(string(body), "requests")
	var accepted, handled int64
	_, err = fmt.Sscan(after, &accepted, &handled, &n)
	return n, err
}

// certificate writes a P-256 certificate for the loopback, its key, and both in one file.
func certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	c := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	k := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	for name, b := range map[string][]byte{"cert.pem": c, "key.pem": k, "both.pem": append(c, k...)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
