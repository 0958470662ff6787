package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// checkFeatures asks a peer in every way in which it will be measured, and refuses one that
// does less than the others: that answers otherwise, adds no id or X-Forwarded-For, uses one
// endpoint only, loses gRPC's trailers, or shows no metrics.
func checkFeatures(p *peer) error {
	var h1, h2, h2c http.Protocols
	h1.SetHTTP1(true)
	h2.SetHTTP2(true)
	h2c.SetUnencryptedHTTP2(true)
	insecure := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13} // a certificate of our own, on the loopback
	over := func(protocols http.Protocols) *http.Client {
		return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Protocols: &protocols, TLSClientConfig: insecure, DisableCompression: true}}
	}
	var errs []error
	for _, way := range []struct {
		name   string
		client *http.Client
		base   string
		proto  int
	}{
		{"h1", over(h1), "http://" + local(p.at.Plain), 1},
		{"tls", over(h1), "https://" + local(p.at.TLS), 1},
		{"h2", over(h2), "https://" + local(p.at.TLS), 2},
	} {
		for path, size := range sizes {
			resp, err := way.client.Get(way.base + "/" + path)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", way.name, err))
				continue
			}
			n, err := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 200 || n != int64(size) || resp.ProtoMajor != way.proto {
				errs = append(errs, fmt.Errorf("%s /%s: %s %d, %d bytes, %v", way.name, path, resp.Proto, resp.StatusCode, n, err))
			}
			if resp.TLS != nil && resp.TLS.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
				errs = append(errs, fmt.Errorf("%s: cipher suite %s, want the same for all", way.name, tls.CipherSuiteName(resp.TLS.CipherSuite)))
			}
		}
		errs = append(errs, checkSeen(way.client, way.base))
		way.client.CloseIdleConnections()
	}
	errs = append(errs, checkUnary(over(h2c), "http://"+local(p.at.GRPC)))
	resp, err := over(h1).Get("http://" + local(p.at.Metrics) + "/metrics")
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != 200 {
			err = fmt.Errorf("metrics: status %d", resp.StatusCode)
		}
	}
	return errors.Join(append(errs, err)...)
}

// checkSeen asks what the back end has seen of 256 requests, 16 at a time: power of two
// choices takes the same endpoint as long as none is in use.
func checkSeen(client *http.Client, base string) error {
	var (
		mu        sync.Mutex
		endpoints = map[string]bool{} // guarded by mu
		errs      = make([]error, 16)
		wg        sync.WaitGroup
	)
	for i := range errs {
		wg.Go(func() {
			for range 16 {
				endpoint, err := seen(client, base)
				if err != nil {
					errs[i] = err
					return
				}
				mu.Lock()
				endpoints[endpoint] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err // they say the same
		}
	}
	if len(endpoints) != 2 {
		return fmt.Errorf("256 requests, 16 at a time, went to %d endpoints", len(endpoints))
	}
	return nil
}

// seen gives the endpoint that a request has reached, if the request had all that is added.
func seen(client *http.Client, base string) (endpoint string, err error) {
	resp, err := client.Get(base + "/seen")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	f := strings.Split(string(b), "\t")
	if len(f) < 3 || f[1] == "" || f[2] == "" {
		return "", fmt.Errorf("the back end sees %q: want an endpoint, X-Forwarded-For and an id", b)
	}
	return f[0], nil
}

// checkUnary makes one gRPC call by hand.
func checkUnary(client *http.Client, base string) error {
	defer client.CloseIdleConnections()
	body := append(binary.BigEndian.AppendUint32([]byte{0}, 100), make([]byte, 100)...)
	req, err := http.NewRequest("POST", base+"/bench.Echo/Unary", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("gRPC: %w", err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || resp.StatusCode != 200 || n != 105 || resp.Trailer.Get("Grpc-Status") != "0" {
		return fmt.Errorf("gRPC: status %d, %d bytes, grpc-status %q, %v", resp.StatusCode, n, resp.Trailer.Get("Grpc-Status"), err)
	}
	return nil
}
