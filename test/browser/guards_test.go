package browser

import (
	"fmt"
	"testing"

	"stoa/test/browser/chrome"
)

// signs is an expression: the words on the map of a service, by its kinds.
func signs(service string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('.node[data-service=%q] [data-test=map-sign]')].map(s => s.dataset.kind).join()`, service)
}

// guard is an expression: the text of a part of Guards, on the page of a service.
func guard(key string) string {
	return fmt.Sprintf(`document.querySelector('[data-test=guards] [data-guard=%s]').innerText`, key)
}

// What is not in its normal state is marked on the map and in the list by a shape and a
// word, is told to who cannot see, and is gone when all is well.
func TestSigns(t *testing.T) {
	s := start(t, "gameday")
	p := chrome.Open(t, chrome.Options{})
	p.Go(s.login)
	p.Until("the page is open", opened)
	p.Until("one sentence says what is worst", `document.querySelector('#verdict-text').textContent === "inventory is not called: its breaker is open"`)
	p.Until("and that it is on purpose", `document.querySelector('#verdict-detail').textContent.includes("Faults are injected into inventory and shipping.")`)
	for service, want := range map[string]string{
		"inventory": "open,fault", "shipping": "fallback,fault", "catalog": "shed,ejected", "storefront": "rated", "cart": "", "payments": "",
	} {
		p.Until(service+" bears the signs "+want, signs(service)+fmt.Sprintf(` === %q`, want))
	}
	p.Until("the gravest has its word beside its shape", `(s => s.querySelector("text").textContent === "breaker open" && s.querySelector("path").getAttribute("d"))(document.querySelector('.node[data-service=inventory] [data-test=map-sign]'))`)
	p.Until("no two kinds have the same shape", `(a => new Map(a).size === 6 && new Set(new Map(a).values()).size === 6)([...document.querySelectorAll('[data-test=map-sign]')].map(s => [s.dataset.kind, s.querySelector("path").getAttribute("d")]))`)
	p.Until("the label of the node says them all", `document.querySelector('.node[data-service=catalog]').getAttribute("aria-label").endsWith("shedding, 1 ejected")`)
	p.Until("the list says them with figures", `(t => t.includes("breaker open for") && t.includes("2 faults are injected, the last ends in"))(document.querySelector('[data-test=service-row][data-service=inventory]').innerText)`)
	p.Until("trouble comes first", `document.querySelector('[data-test=service-row]').dataset.service === "inventory"`)
	p.Until("signs lie inside the map", `[...document.querySelectorAll('[data-test=map-sign]')].every(e => { const r = e.getBoundingClientRect(), m = document.querySelector('.stage').getBoundingClientRect(); return r.width > 8 && r.left >= m.left && r.right <= m.right && r.bottom <= m.bottom; })`)
	p.Until("a word fits into its sign", `[...document.querySelectorAll('[data-test=map-sign]')].every(e => { const t = e.querySelector("text")?.getBoundingClientRect(), r = e.querySelector("rect").getBoundingClientRect(); return !t || t.right <= r.right; })`)
	p.Until("nothing is wider than the page", `document.documentElement.scrollWidth <= innerWidth`)

	s.tell("show?system=shop")
	p.Until("when it is over, no sign is left", `!document.querySelector('[data-test=map-sign], [data-test=sign]') && document.querySelector('#verdict-text').textContent === "All 8 services are ready"`)
}

// A service's page tells what protects it, what that does, and how a fault is ended.
func TestGuards(t *testing.T) {
	s := start(t, "gameday")
	p := chrome.Open(t, chrome.Options{})
	p.Go(s.login + "&service=inventory")
	p.Until("the page is open", opened+` && document.querySelector('[data-test=guards] [data-guard=breaker]')`)
	says := func(key string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			p.Until(fmt.Sprintf("%s says %q", key, text), guard(key)+fmt.Sprintf(`.includes(%q)`, text))
		}
	}
	says("breaker", "open since ", "58 % of 214 calls failed", "Refuses 5.8/s; 412 refused in all")
	says("places", "0 of 20 places in use")
	says("retries", "0.6/s repeated", "62 % of the budget used", "73 in all", "not repeated, no time left: 0.3/s", "not repeated, the budget is used up: 0/s, 3 in all")
	says("faults", "2 in force", "inventory-1: 30% of calls to inventory are answered with 503", "Set by ada (cli) (game day); ends in ", "stoa faults clear inventory-2", "Of 137 attempts it may meet, it delayed 0 and answered 41.")
	p.Until("the last minute is drawn", `document.querySelector('[data-guard=breaker] .spark:not([data-flat]) .stroke').getAttribute("d").includes("L")`)

	p.Go(s.login + "&service=catalog")
	p.Until("it is catalog's", opened+` && document.querySelector('[data-test=detail] h2').textContent === "catalog"`)
	says("breaker", "closed", "In the last 10 s")
	says("places", "8 of 8 places in use, 3 wait, overload 77 %", "8/s refused for want of a place", "priority normal: 1.2/s refused, 773 in all", "priority low: 6.8/s refused, 1.8k in all")
	says("endpoints", "1 left alone", "2 times (gateway-errors)")
	says("fallback", "none now")
	p.Until("its callee's breaker is told beside it", `[...document.querySelectorAll('[data-test=detail] .edge-sign')].some(e => e.textContent === "breaker open")`)

	p.Go(s.login + "&service=shipping")
	says("fallback", "of its calls, cached", "44 answers have stood in for a failure")
	p.Go(s.login + "&service=storefront")
	says("rates", "1.4/s refused", "gateway storefront /bff: 1.4/s, 58 in all")
	p.Go(s.login + "&service=payments")
	p.Until("of whom nothing is known, nothing is told", `document.querySelector('[data-test=guards-none]').innerText.includes("nothing to tell") && !document.querySelector('[data-test=guards] [data-guard]')`)
}

// On a phone signs and guards are there too, and nothing is cut off.
func TestGuardsNarrow(t *testing.T) {
	s := start(t, "gameday")
	p := chrome.Open(t, chrome.Options{Width: 390, Height: 844, Dark: true})
	p.Go(s.login)
	p.Until("the page is open", opened+` && document.querySelector('[data-test=map-sign]')`)
	p.Until("nothing is wider than the page", `document.documentElement.scrollWidth <= 390`)
	p.Go(s.login + "&service=inventory")
	p.Until("the guards are there", opened+` && document.querySelector('[data-test=guards] [data-test=fault]')`)
	p.Until("no line is cut off", `[...document.querySelectorAll('[data-test=guards] :is(dd, li, code)')].every(c => !c.getClientRects().length || c.getBoundingClientRect().right <= 390)`)
}
