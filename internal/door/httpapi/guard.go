package httpapi

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/op"
)

// CookiePrefix begins the name of the session cookie; the port follows, since cookies
// do not tell ports apart. No proxy of ours passes such a cookie on.
const CookiePrefix = "stoa_session_"

// policy is the Content-Security-Policy of every answer: what we serve ourselves, nothing inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// secure sets what every answer bears, whatever it is.
func secure(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", policy)
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("X-Frame-Options", "DENY")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.ServeHTTP(w, r)
	})
}

// A fence decides who may ask on the TCP listener.
type fence struct {
	hosts  []string // "127.0.0.1:7070", in lower case
	cookie string   // name of the session cookie
	logins *Logins
	cross  *http.CrossOriginProtection
}

func newFence(port string, logins *Logins) *fence {
	f := &fence{cookie: CookiePrefix + port, logins: logins, cross: http.NewCrossOriginProtection()}
	for _, h := range []string{"localhost", "127.0.0.1", "[::1]"} {
		f.hosts = append(f.hosts, h+":"+port)
		if port == "80" {
			f.hosts = append(f.hosts, h)
		}
	}
	return f
}

const relogin = "Run stoa dash for a new login link."

// ours refuses what no page of ours would send: a foreign Host (DNS rebinding), a foreign
// Origin, a request that another site's page makes. A navigation from another site
// may open a page (it is not sent the cookie), never data. page says what a request asks for.
func (f *fence) ours(page func(*http.Request) bool, h http.Handler) http.Handler {
	refuse := func(w http.ResponseWriter, status int, msg string) {
		fail(w, fault.New(fault.Denied, "", "%s", msg).WithHint("Open the dashboard by the link that stoa dash prints."), status)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := strings.ToLower(r.Host)
		if !slices.Contains(f.hosts, host) {
			refuse(w, http.StatusMisdirectedRequest, "this is not the host that was asked for")
			return
		}
		for _, o := range r.Header.Values("Origin") {
			if u, err := url.Parse(o); err != nil || u.Scheme != "http" || !strings.EqualFold(u.Host, host) {
				refuse(w, 0, "requests of other origins are refused")
				return
			}
		}
		switch site := r.Header.Get("Sec-Fetch-Site"); site {
		case "", "none", "same-origin":
		default:
			if r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document" || !page(r) {
				refuse(w, 0, "requests of other sites are refused")
				return
			}
		}
		if err := f.cross.Check(r); err != nil {
			refuse(w, 0, err.Error())
			return
		}
		h.ServeHTTP(w, r)
	})
}

// loggedIn lets only sessions through, and tells who asks.
func (f *fence) loggedIn(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := r.Cookie(f.cookie)
		if err != nil || !f.logins.valid(c.Value) {
			fail(w, fault.New(fault.Denied, "", "you are not logged in").WithHint(relogin), http.StatusUnauthorized)
			return
		}
		ctx := op.WithCaller(r.Context(), op.Caller{Name: "dashboard", UID: -1, Via: "dashboard"})
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

// session exchanges a login for the cookie (POST) and ends a session (DELETE).
func (f *fence) session(w http.ResponseWriter, r *http.Request) {
	cookie := http.Cookie{Name: f.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode}
	switch r.Method {
	case http.MethodPost:
		token, err := loginToken(w, r)
		if err != nil {
			fail(w, err, 0)
			return
		}
		value, ends, ok := f.logins.redeem(token)
		if !ok {
			fail(w, fault.New(fault.Denied, "", "this login was used already, or is too old").WithHint(relogin), http.StatusUnauthorized)
			return
		}
		cookie.Value, cookie.MaxAge = value, int(sessionTime.Seconds())
		http.SetCookie(w, &cookie)
		b, err := json.Marshal(map[string]core.Time{"expires": core.At(ends)})
		if err != nil {
			fail(w, err, 0)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Write(append(b, '\n')) // a caller who is gone is not told
	case http.MethodDelete:
		if c, err := r.Cookie(f.cookie); err == nil {
			f.logins.end(c.Value)
		}
		cookie.MaxAge = -1
		http.SetCookie(w, &cookie)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", "POST, DELETE")
		fail(w, fault.New(fault.Invalid, "session", "want POST or DELETE, not %s", r.Method), http.StatusMethodNotAllowed)
	}
}

// loginToken reads {"token":"..."}.
func loginToken(w http.ResponseWriter, r *http.Request) (string, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return "", fault.New(fault.Invalid, "session", "want Content-Type application/json")
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(10 * time.Second)) // a test's writer has none
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<10))
	_ = rc.SetReadDeadline(time.Time{})
	if err != nil {
		return "", fault.New(fault.Invalid, "session", "the request did not arrive whole: %w", err)
	}
	var in struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(b, &in); err != nil || in.Token == "" {
		return "", fault.New(fault.Invalid, "session", `want {"token":"..."}`)
	}
	return in.Token, nil
}
