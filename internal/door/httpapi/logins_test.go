package httpapi

import (
	"testing"
	"testing/synctest"
	"time"
)

// A login lives as long as it was minted for, a session 12 hours.
func TestLoginsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Logins
		short, long, endless := l.Mint(0), l.Mint(5*time.Minute), l.Mint(time.Hour)
		time.Sleep(61 * time.Second)
		if _, _, ok := l.redeem(short); ok {
			t.Error("a login of 60 s works after 61 s")
		}
		session, _, ok := l.redeem(long)
		if !ok {
			t.Error("a login of 5 min does not work after 61 s")
		}
		time.Sleep(10 * time.Minute)
		if _, _, ok := l.redeem(endless); ok {
			t.Error("a login lives longer than 10 min")
		}
		time.Sleep(11 * time.Hour)
		if !l.valid(session) {
			t.Error("a session ended after 11 h")
		}
		time.Sleep(time.Hour)
		if l.valid(session) {
			t.Error("a session lives after 12 h")
		}
	})
}

// Whoever mints without end does not fill the memory; the newest ones work.
func TestLoginsAreBounded(t *testing.T) {
	var l Logins
	var last, session string
	for range 10 * maxSessions {
		last = l.Mint(0)
		session, _, _ = l.redeem(last)
	}
	for range 10 * maxLogins {
		last = l.Mint(0)
	}
	if len(l.logins) > maxLogins || len(l.sessions) > maxSessions {
		t.Errorf("there are %d logins and %d sessions", len(l.logins), len(l.sessions))
	}
	if _, _, ok := l.redeem(last); !ok || !l.valid(session) {
		t.Error("the newest do not work")
	}
	for _, s := range []string{"", "x", last} {
		if _, _, ok := l.redeem(s); ok {
			t.Errorf("%q was redeemed", s)
		}
	}
}
