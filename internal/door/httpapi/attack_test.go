package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stoa/api/fault"
	"stoa/internal/door/httpapi"
	"stoa/internal/kernel/host"
)

// A browser is a client of the admin listener, with or without a session.
type browser struct {
	*http.Client
	base string
}

func (s *site) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &browser{&http.Client{Jar: jar, Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, s.base}
}

// ask sends one request; head holds "Name: value" lines, and Host may be among them.
func (b *browser) ask(t *testing.T, method, path, body string, head ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range head {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		} else {
			req.Header.Set(name, value)
		}
	}
	resp, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func (b *browser) login(t *testing.T, token string) int {
	t.Helper()
	resp, _ := b.ask(t, "POST", "/session", `{"token":"`+token+`"}`)
	return resp.StatusCode
}

// A login link works once, gives a cookie that scripts and other sites cannot have,
// and the session ends when it is told to.
func TestLogin(t *testing.T) {
	s := start(t, nil)
	link := s.server.Login(0)
	base, token, ok := strings.Cut(link, "/#login=")
	if !ok || base != s.base || len(token) != 43 {
		t.Fatalf("the link is %q, want %s/#login= and 256 bits", link, s.base)
	}
	b := s.browser(t)
	if resp, body := b.ask(t, "GET", "/v1/get", ""); resp.StatusCode != 401 || !strings.Contains(body, "stoa dash") {
		t.Errorf("without a session: got %d %s, want 401 and how to get one", resp.StatusCode, body)
	}
	resp, body := b.ask(t, "POST", "/session", `{"token":"`+token+`"}`, "Origin: "+s.base, "Sec-Fetch-Site: same-origin")
	if resp.StatusCode != 200 || !strings.Contains(body, "expires") {
		t.Fatalf("login: got %d %s", resp.StatusCode, body)
	}
	c := resp.Cookies()[0]
	port := s.base[strings.LastIndex(s.base, ":")+1:]
	if c.Name != httpapi.CookiePrefix+port || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.MaxAge != 12*3600 || c.Domain != "" {
		t.Errorf("the cookie is %s", resp.Header.Get("Set-Cookie"))
	}
	if c.Value == token {
		t.Error("the session is the login token")
	}
	if resp, body := b.ask(t, "GET", "/v1/get?limit=3", ""); resp.StatusCode != 200 || !strings.Contains(body, `"dashboard"`) {
		t.Errorf("with a session: got %d %s", resp.StatusCode, body)
	}
	other := s.browser(t)
	if code := other.login(t, token); code != 401 {
		t.Errorf("the token a second time: got %d, want 401", code)
	}
	if resp, _ := b.ask(t, "DELETE", "/session", ""); resp.StatusCode != 204 {
		t.Errorf("logout: got %d", resp.StatusCode)
	}
	if resp, _ := other.ask(t, "GET", "/v1/get", "", "Cookie: "+c.Name+"="+c.Value); resp.StatusCode != 401 {
		t.Errorf("the cookie after logout: got %d, want 401", resp.StatusCode)
	}
}

// Of many who redeem one token at the same moment exactly one gets in.
func TestOneTokenManyRedemptions(t *testing.T) {
	s := start(t, nil)
	token := s.logins.Mint(0)
	var in, out atomic.Int32
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for range 100 {
		b := s.browser(t)
		wg.Go(func() {
			<-gate
			switch code := b.login(t, token); code {
			case 200:
				in.Add(1)
			case 401:
				out.Add(1)
			default:
				t.Errorf("got status %d", code)
			}
		})
	}
	close(gate)
	wg.Wait()
	if in.Load() != 1 || out.Load() != 99 {
		t.Errorf("%d got in and %d did not, want 1 and 99", in.Load(), out.Load())
	}
}

// Pages of other origins get nothing and change nothing, even with the session's cookie.
func TestForeignPages(t *testing.T) {
	s := start(t, nil)
	b := s.browser(t)
	if code := b.login(t, s.logins.Mint(0)); code != 200 {
		t.Fatalf("login: %d", code)
	}
	port := s.base[strings.LastIndex(s.base, ":")+1:]
	for _, c := range []struct {
		name, method, path, body string
		head                     []string
		want                     int
	}{
		{"ours", "GET", "/v1/get", "", nil, 200},
		{"localhost, where the cookie of 127.0.0.1 does not go", "GET", "/v1/get", "", []string{"Host: localhost:" + port}, 401},
		{"our page", "POST", "/v1/service.reset", "{}", []string{"Origin: " + s.base, "Sec-Fetch-Site: same-origin"}, 200},

		{"rebound name", "GET", "/v1/get", "", []string{"Host: evil.example:" + port}, 421},
		{"rebound name for a page", "GET", "/", "", []string{"Host: evil.example:" + port}, 421},
		{"host without port", "GET", "/v1/get", "", []string{"Host: 127.0.0.1"}, 421},
		{"other port", "GET", "/v1/get", "", []string{"Host: 127.0.0.1:1"}, 421},
		{"host with a tail", "GET", "/v1/get", "", []string{"Host: localhost.evil.example:" + port}, 421},
		{"other spelling of loopback", "GET", "/v1/get", "", []string{"Host: 127.1:" + port}, 421},

		{"foreign origin", "POST", "/v1/service.reset", "{}", []string{"Origin: https://evil.example"}, 403},
		{"null origin", "POST", "/v1/service.reset", "{}", []string{"Origin: null"}, 403},
		{"another port of this host", "POST", "/v1/service.reset", "{}", []string{"Origin: http://127.0.0.1:8080"}, 403},
		{"our other name", "POST", "/v1/service.reset", "{}", []string{"Origin: http://localhost:" + port}, 403},
		{"foreign origin reads", "GET", "/v1/get", "", []string{"Origin: https://evil.example"}, 403},
		{"same site, other port", "POST", "/v1/service.reset", "{}", []string{"Sec-Fetch-Site: same-site"}, 403},
		{"same site reads", "GET", "/v1/get", "", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors"}, 403},
		{"cross site", "POST", "/v1/service.reset", "{}", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"cross site login", "POST", "/session", `{"token":"x"}`, []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"cross site navigation to data", "GET", "/v1/get", "", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 403},
		{"cross site navigation to metrics", "GET", "/metrics", "", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 403},
		{"cross site navigation to a page", "GET", "/", "", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 200},
		{"cross site frame", "GET", "/", "", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 403},
		{"a form", "POST", "/v1/service.reset", "a=b", []string{"Content-Type: application/x-www-form-urlencoded"}, 415},
		{"preflight", "OPTIONS", "/v1/service.reset", "", []string{"Origin: https://evil.example", "Access-Control-Request-Method: POST"}, 403},

		{"change by GET", "GET", "/v1/service.reset", "", nil, 405},
		{"change by HEAD", "HEAD", "/v1/service.reset", "", nil, 405},
		{"method override", "GET", "/v1/service.reset", "", []string{"X-HTTP-Method-Override: POST"}, 405},
		{"login by GET", "GET", "/session?token=x", "", nil, 405},
	} {
		s.mu.Lock()
		before := s.resets
		s.mu.Unlock()
		resp, body := b.ask(t, c.method, c.path, c.body, c.head...)
		if resp.StatusCode != c.want {
			t.Errorf("%s: got %d %s, want %d", c.name, resp.StatusCode, body, c.want)
		}
		s.mu.Lock()
		if changed := s.resets != before; changed != (c.want == 200 && c.path == "/v1/service.reset") {
			t.Errorf("%s: changed %v", c.name, changed)
		}
		s.mu.Unlock()
		for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options"} {
			if resp.Header.Get(h) == "" {
				t.Errorf("%s: the answer has no %s", c.name, h)
			}
		}
		if csp := resp.Header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: the policy is %s", c.name, csp)
		}
		for h := range resp.Header {
			if strings.HasPrefix(h, "Access-Control") {
				t.Errorf("%s: the answer has %s", c.name, h)
			}
		}
	}
}

// Without a session there is nothing but the dashboard's own files.
func TestWhatNeedsASession(t *testing.T) {
	s := start(t, nil)
	b := s.browser(t)
	for path, want := range map[string]int{
		"/": 200, "/assets/app.js": 200, "/v1/get": 401, "/v1/nothing": 401, "/openapi.json": 401, "/metrics": 401, "/v1": 307, "/v1/../v1/get": 401,
		"/assets/../v1/get": 401, "/%761/get": 401,
	} {
		resp, body := b.ask(t, "GET", path, "")
		if resp.StatusCode != want && !(want == 401 && resp.StatusCode == 307) {
			t.Errorf("%s: got %d, want %d", path, resp.StatusCode, want)
		}
		if resp.StatusCode == 200 && !strings.HasPrefix(body, "dash ") {
			t.Errorf("%s: gave %s", path, body)
		}
	}
	for _, cookie := range []string{"", "x", strings.Repeat("A", 43), s.logins.Mint(0)} {
		resp, _ := b.ask(t, "GET", "/v1/get", "", "Cookie: "+httpapi.CookiePrefix+s.base[strings.LastIndex(s.base, ":")+1:]+"="+cookie)
		if resp.StatusCode != 401 {
			t.Errorf("cookie %q: got %d, want 401", cookie, resp.StatusCode)
		}
	}
	open := start(t, func(o *httpapi.Options) { o.Open = []string{"GET /metrics"} })
	if resp, body := open.browser(t).ask(t, "GET", "/metrics", ""); resp.StatusCode != 200 || body != "stoa_up 1\n" {
		t.Errorf("metrics that are open: got %d %s", resp.StatusCode, body)
	}
	if resp, _ := open.browser(t).ask(t, "GET", "/metrics", "", "Host: evil.example"); resp.StatusCode != 421 {
		t.Errorf("open metrics for a rebound name: got %d", resp.StatusCode)
	}
	if status, f := s.raw(t, "GET", "/metrics", "", ""); status != 200 {
		t.Errorf("metrics on the socket: got %d %v", status, f)
	}
}

// Who sends a head slowly, or never, is cut off; others are served meanwhile.
func TestSlowHeads(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	addr := strings.TrimPrefix(s.base, "http://")
	began := time.Now()
	var wg sync.WaitGroup
	for i := range 100 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /v1/get HTTP/1.1\r\nHost: %s\r\nX-%d: ", addr, i)
		wg.Go(func() {
			conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Errorf("a slow head was not cut off: %v", err)
			}
		})
	}
	if resp, _ := s.browser(t).ask(t, "GET", "/", ""); resp.StatusCode != 200 {
		t.Errorf("meanwhile: got %d", resp.StatusCode)
	}
	wg.Wait()
	if took := time.Since(began); took < 4*time.Second || took > 2*time.Minute {
		t.Errorf("they were cut off after %v, want 5 s", took)
	}
}

// A head or a body without end is refused.
func TestOversized(t *testing.T) {
	s := start(t, nil)
	b := s.browser(t)
	if code := b.login(t, s.logins.Mint(0)); code != 200 {
		t.Fatalf("login: %d", code)
	}
	if resp, _ := b.ask(t, "GET", "/v1/get", "", "X-Long: "+strings.Repeat("x", 64<<10)); resp.StatusCode != 431 {
		t.Errorf("a long head: got %d, want 431", resp.StatusCode)
	}
	if resp, body := b.ask(t, "POST", "/session", `{"token":"`+strings.Repeat("x", 5<<10)+`"}`); resp.StatusCode != 400 {
		t.Errorf("a long token: got %d %s, want 400", resp.StatusCode, body)
	}
	// Chunked, so that no length is told beforehand.
	addr := strings.TrimPrefix(s.base, "http://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	u, err := url.Parse(s.base)
	if err != nil {
		t.Fatal(err)
	}
	cookie := b.Jar.Cookies(u)[0]
	fmt.Fprintf(conn, "POST /v1/service.reset HTTP/1.1\r\nHost: %s\r\nCookie: %s=%s\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", addr, cookie.Name, cookie.Value)
	go func() {
		chunk := fmt.Sprintf("10000\r\n%s\r\n", strings.Repeat("x", 0x10000))
		for range 1024 { // 64 MiB, ended by the server's hanging up
			if _, err := io.WriteString(conn, chunk); err != nil {
				return
			}
		}
	}()
	conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if f, err := fault.Decode(text); resp.StatusCode != 413 || err != nil || f.Kind != fault.Invalid {
		t.Errorf("an endless body: got %d %s, want 413", resp.StatusCode, text)
	}
}

// The admin API has no TLS, so it listens where only this machine reaches it.
func TestLoopbackOnly(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:7070": true, "localhost:7070": true, "[::1]:7070": true, "127.0.0.2:0": true,
		"0.0.0.0:7070": false, ":7070": false, "[::]:7070": false, "192.168.0.1:7070": false, "example.com:7070": false, "7070": false,
	} {
		_, err := httpapi.New(httpapi.Options{Catalog: host.Build(&fake{}), Admin: addr})
		if ok != (err == nil) {
			t.Errorf("%s: got %v, want it taken: %v", addr, err, ok)
		}
	}
}
