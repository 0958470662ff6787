package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A load sends requests from some clients at once until it is stopped, and counts.
type load struct {
	method       string
	sent, failed atomic.Int64
	mu           sync.Mutex
	why          map[string]int // guarded by mu
	cancel       context.CancelFunc
	lives        sync.WaitGroup
}

// begin starts clients that ask for url, one request after the other each.
func begin(t *testing.T, url string, clients int) *load {
	return beginWith(t, http.MethodGet, url, clients)
}

// beginWith is begin for any method. A GET that was lost with its connection is repeated
// on the way, a POST by nobody: with POST, what is lost is seen.
func beginWith(t *testing.T, method, url string, clients int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{method: method, why: map[string]int{}, cancel: cancel}
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	for range clients {
		l.lives.Go(func() {
			c := http.Client{Transport: transport, Timeout: patience}
			for ctx.Err() == nil {
				l.one(&c, url)
			}
		})
	}
	t.Cleanup(func() { l.stop(); transport.CloseIdleConnections() })
	return l
}

func (l *load) one(c *http.Client, url string) {
	var body io.Reader
	if l.method == http.MethodPost {
		body = strings.NewReader("a body")
	}
	req, err := http.NewRequest(l.method, url, body)
	var resp *http.Response
	if err == nil {
		resp, err = c.Do(req)
	}
	l.sent.Add(1)
	if err == nil {
		b, rerr := io.ReadAll(resp.Body)
		resp.Body.Close()
		if rerr == nil && resp.StatusCode == http.StatusOK {
			return
		}
		err = fmt.Errorf("%d %s %v", resp.StatusCode, strings.TrimSpace(string(b[:min(len(b), 200)])), rerr)
	}
	l.failed.Add(1)
	l.mu.Lock()
	l.why[err.Error()]++
	l.mu.Unlock()
}

// stop ends the clients and waits for them.
func (l *load) stop() {
	l.cancel()
	l.lives.Wait()
}

// reach waits until n requests more were sent.
func (l *load) reach(t *testing.T, n int64) {
	t.Helper()
	goal := l.sent.Load() + n
	until(t, fmt.Sprintf("%d requests sent", goal), func() bool { return l.sent.Load() >= goal })
}

func (l *load) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d requests, %d failed: %v", l.sent.Load(), l.failed.Load(), l.why)
}

// pause lets a moment of load pass between two blows; nothing is waited for in it.
func pause() { time.Sleep(50 * time.Millisecond) }
