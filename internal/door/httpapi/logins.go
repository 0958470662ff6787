package httpapi

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"sync"
	"time"
)

// Bounds of logins and sessions. More of either drop the oldest: whoever can mint is
// let in already, so it is housekeeping and no defence.
const (
	loginTime   = 60 * time.Second // unless Mint says otherwise
	maxLogin    = 10 * time.Minute
	sessionTime = 12 * time.Hour
	maxLogins   = 16
	maxSessions = 64
)

// Logins keeps the one-time logins and the sessions that came of them: their hashes, in
// memory, so that a restart ends them all and a dump of it opens nothing. The zero value works.
// It may be used concurrently.
type Logins struct {
	mu       sync.Mutex
	logins   []secret // oldest first; guarded by mu
	sessions []secret // oldest first; guarded by mu
}

type secret struct {
	hash [sha256.Size]byte
	ends time.Time
}

// Mint gives a token of 256 random bits that can be redeemed once, within life: 0 means
// 60 s, more than 10 min means 10 min.
func (l *Logins) Mint(life time.Duration) string {
	if life <= 0 {
		life = loginTime
	}
	token, hash := newSecret()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logins = add(l.logins, secret{hash, time.Now().Add(min(life, maxLogin))}, time.Now(), maxLogins)
	return token
}

// redeem exchanges a login token for a session token, once.
func (l *Logins) redeem(token string) (session string, ends time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	i := find(l.logins, token, now)
	if i < 0 {
		return "", time.Time{}, false
	}
	l.logins = append(l.logins[:i], l.logins[i+1:]...)
	session, hash := newSecret()
	ends = now.Add(sessionTime)
	l.sessions = add(l.sessions, secret{hash, ends}, now, maxSessions)
	return session, ends, true
}

// valid says whether session is one that has not ended.
func (l *Logins) valid(session string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return find(l.sessions, session, time.Now()) >= 0
}

// end ends a session, if it is one.
func (l *Logins) end(session string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := find(l.sessions, session, time.Now()); i >= 0 {
		l.sessions = append(l.sessions[:i], l.sessions[i+1:]...)
	}
}

func newSecret() (token string, hash [sha256.Size]byte) {
	var b [32]byte
	rand.Read(b[:]) // never fails
	token = base64.RawURLEncoding.EncodeToString(b[:])
	return token, sha256.Sum256([]byte(token))
}

// add drops what has ended, and the oldest if there are bound many already.
func add(all []secret, s secret, now time.Time, bound int) []secret {
	var kept []secret
	for _, k := range all {
		if now.Before(k.ends) {
			kept = append(kept, k)
		}
	}
	if len(kept) >= bound {
		kept = kept[len(kept)-bound+1:]
	}
	return append(kept, s)
}

// find gives the place of token among all, or -1. It compares with every one, each in
// constant time, so that the time tells nothing.
func find(all []secret, token string, now time.Time) int {
	hash := sha256.Sum256([]byte(token))
	at := -1
	for i := range all {
		if subtle.ConstantTimeCompare(all[i].hash[:], hash[:]) == 1 && now.Before(all[i].ends) {
			at = i
		}
	}
	return at
}
