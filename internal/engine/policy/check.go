package policy

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"stoa/api/core"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/rate"
	"stoa/internal/engine/snapshot"
)

// Check tells bad what is wrong with p, which is declared over the defaults def, by the
// path of the field in p. What is wrong with def alone is not told. Services that are
// named are not looked for.
func Check(p, def core.EdgePolicy, bad func(path, text, hint string)) {
	tell := func(path, text, hint string) { bad(path, text, Phrase(hint)) }
	s := Of(p, func(service string) string { return service })
	s.Rates = nil // by their own paths, and with what is no rate
	quotas(p.RateLimit, tell)
	s.Check(func(path, text, hint string) {
		if path == "retry.perTry" && p.Timeout == 0 && strings.Contains(text, "do not fit") {
			return // told below, by the timeout that is in force
		}
		tell(declared(path), renamed.Replace(text), renamed.Replace(hint))
	})
	total(p, def, tell)
	if f := p.Fallback; f != nil {
		more := f.Cached != 0 || f.Static != nil || f.Service != ""
		switch {
		case f.Off && more:
			tell("fallback.off", "is off, and says what is answered", "Take one of them away.")
		case !f.Off && !more:
			tell("fallback", "says nothing", "Give cached, static or service.")
		}
		if a := f.Static; a != nil {
			value("fallback.static.contentType", a.ContentType, tell)
		}
	}
	if c := p.Cache; c != nil && c.On != nil && !*c.On && *c != (core.Cache{On: c.On}) {
		tell("cache.on", "is off, and says how answers are kept", "Take one of them away.")
	}
	if from, _, ok := rate.Per(p.Cohort).Source(); !ok || from == rate.All && p.Cohort != "" {
		tell("cohort", fmt.Sprintf("%q: want client, header:NAME or cookie:NAME", p.Cohort), "Leave it out for client.")
	}
	cors(p.CORS, tell)
	if v := p.Security; v != nil {
		for _, f := range [][2]string{{"contentPolicy", v.ContentPolicy}, {"referrer", v.Referrer}, {"permissions", v.Permissions}} {
			value("security."+f[0], f[1], tell)
		}
	}
}

// total tells if the attempts of p do not fit into its timeout, where one of the two is
// the default's.
func total(p, def core.EdgePolicy, tell func(path, text, hint string)) {
	both := p.Over(def)
	if p.Timeout != 0 && p.Retry != nil || p.Timeout == 0 && p.Retry == nil {
		return
	}
	retryOf(both.Retry).CheckTotal(deadline.Config{Total: both.Timeout.D()}.Route(), func(_, text, hint string) {
		if p.Retry != nil {
			tell("retry.perTry", text, hint)
			return
		}
		tell("timeout", text+", which the System's defaults say", "Give a longer timeout, or a retry of its own.")
	})
}

// quotas reads the rates.
func quotas(r *core.RateLimit, tell func(path, text, hint string)) {
	if r == nil {
		return
	}
	if r.Quota == (core.Quota{}) && r.All == nil {
		tell("rateLimit", "says nothing", "Give a rate, as 50/s, or [] for none.")
	}
	one := func(at string, q core.Quota) {
		c, err := quotaOf(q)
		switch {
		case err != nil:
			tell(at+".rate", err.Error(), "Write it as 50/s, 1000/m, 5/h or 10000/d.")
		case q.Rate == "":
			tell(at+".rate", "is missing", "Give a rate, as 50/s.")
		}
		if c.Rate == (rate.Rate{}) {
			c.Rate = rate.Rate{N: 1, Per: time.Second} // for what else is wrong
		}
		c.Check(func(path, text, hint string) { tell(join(at, path), text, hint) })
	}
	if r.Quota != (core.Quota{}) {
		one("rateLimit", r.Quota)
	}
	if n := len(r.Quotas()); n > snapshot.MaxRates {
		tell("rateLimit", fmt.Sprintf("%d rates are more than %d", n, snapshot.MaxRates), "Take some away.")
	}
	for i, q := range r.All {
		one(fmt.Sprintf("rateLimit[%d]", i), q)
	}
}

// cors reads what snapshot.Policy takes as it is.
func cors(c *core.CORS, tell func(path, text, hint string)) {
	if c == nil {
		return
	}
	if c.Off {
		if len(c.Origins) > 0 {
			tell("cors.off", "is off, and names origins", "Take one of them away.")
		}
		return
	}
	for i, o := range c.Origins {
		u, err := url.Parse(strings.Replace(o, "://*.", "://any.", 1))
		if o != "*" && (err != nil || u.Scheme == "" || u.Host == "" || o != strings.ToLower(o) || u.Path+u.RawQuery+u.Fragment != "" || u.User != nil || strings.Contains(u.Host, "*")) {
			tell(fmt.Sprintf("cors.origins[%d]", i), fmt.Sprintf("%q is no origin", o), `Write https://shop.example, without a path, https://*.shop.example, or "*" alone.`)
		}
	}
	for _, list := range []struct {
		name   string
		tokens []string
	}{{"methods", c.Methods}, {"headers", c.Headers}, {"expose", c.Expose}} {
		for i, t := range list.tokens {
			if _, _, ok := rate.Per("header:" + t).Source(); !ok { // a token
				tell(fmt.Sprintf("cors.%s[%d]", list.name, i), fmt.Sprintf("%q is no name", t), "Take it away.")
			}
		}
	}
}

// value reads what becomes the value of a header.
func value(path, text string, tell func(path, text, hint string)) {
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) || text != strings.TrimSpace(text) {
		tell(path, "cannot be the value of a header", "Write it on one line, without outer spaces.")
	}
}

// names are the fields of a snapshot's policy that are declared under another name.
var names = map[string]string{
	"deadline.total": "timeout", "deadline.idle": "idle",
	"retry.base": "retry.backoff.base", "retry.cap": "retry.backoff.cap", "retry.hedgeAfter": "retry.hedge",
	"fallback.upstream": "fallback.service",
}

// renamed puts declared names into texts, and leaves out what cannot be declared.
var renamed = strings.NewReplacer("hedgeAfter", "hedge", ", or a negative duration for no bound", "")

func declared(path string) string {
	if name, ok := names[path]; ok {
		return name
	}
	return path
}

func join(at, path string) string {
	if path == "" {
		return at
	}
	return at + "." + path
}

// Phrase gives a hint as the blueprint's problems have it: after a semicolon.
func Phrase(hint string) string {
	first, rest, _ := strings.Cut(hint, " ")
	if len(first) > 1 && !strings.ContainsFunc(first[1:], unicode.IsUpper) && rest != "" {
		hint = strings.ToLower(first[:1]) + hint[1:]
	}
	return strings.TrimSuffix(hint, ".")
}
