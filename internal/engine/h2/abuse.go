package h2

// What a peer may do that brings nothing. Each is a bucket that leaks at rate a second; one
// that runs over is GOAWAY with ENHANCE_YOUR_CALM.
//
//	resets   streams that the caller resets before they are over (rapid reset, CVE-2023-44487),
//	         and those that it makes us reset (MadeYouReset, CVE-2025-8671)
//	junk     empty DATA, PRIORITY, PING, SETTINGS, small windows, unknown frames; a frame that brings
//	         something makes good for two, and windows and pings are free up to four for each DATA
//	         that we sent, and one for each KiB in it: so often some clients say what they took
//
// Besides: a head of too many parts or bytes (CVE-2024-27316), too much memory for fields, and
// answers to control frames that the peer does not read (maxControl).
const (
	maxJunk    = 1000
	junkRate   = 100
	maxParts   = 32 // CONTINUATION frames of one head
	settingsOf = 10 // junk frames that one of SETTINGS counts as
	maxGiven   = 1 << 20
)

// bucket counts what leaks away with time.
type bucket struct {
	most, rate float64 // how much it holds; how much leaks in a second
	level      float64
	at         int64
}

// add says whether n more are too many.
func (b *bucket) add(n float64, now int64) bool {
	if b.level > 0 {
		b.level = max(0, b.level-float64(now-b.at)/1e9*b.rate)
	}
	b.at = now
	b.level += n
	return b.level > b.most
}

// good makes good for n.
func (b *bucket) good(n float64) { b.level = max(0, b.level-n) }

// past is what is known of the streams that ended last.
type past struct {
	ids  [128]uint32
	ours [128]bool // we ended it before the peer had: what still comes of it is no mistake
	next int
}

func (p *past) add(id uint32, ours bool) {
	p.ids[p.next], p.ours[p.next] = id, ours
	p.next = (p.next + 1) % len(p.ids)
}

func (p *past) find(id uint32) (known, ours bool) {
	for i := range p.ids {
		if p.ids[i] == id && id != 0 {
			return true, p.ours[i]
		}
	}
	return false, false
}

func (c *conn) useless(n float64) error {
	if c.junk.add(n, now()) {
		return &connError{EnhanceYourCalm, "too many frames that bring nothing"}
	}
	return nil
}

// answering takes one of the frames that may answer what we sent; else it is useless.
func (c *conn) answering() error {
	c.mu.Lock()
	given := c.given > 0
	if given {
		c.given--
	}
	c.mu.Unlock()
	if given {
		return nil
	}
	return c.useless(1)
}

// provoked counts a reset; it is of the reader.
func (c *conn) provoked() error {
	if c.client || !c.resets.add(1, now()) {
		return nil
	}
	return &connError{EnhanceYourCalm, "too many streams that were reset"}
}
