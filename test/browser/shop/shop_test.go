// Package shop buys something in the storefront of examples/shop, in a browser, through
// the gateway of a running Stoa, and looks for it in the dashboard. Whoever runs it has
// started `stoa dev examples/shop` and gives
//
//	STOA_GATEWAY_URL   http://127.0.0.1:8080
//	STOA_DASH_URL      http://127.0.0.1:7070/#login=TOKEN, a link that was not used yet
//
// Without them it fails: a test that passes because nothing ran would hide that.
package shop

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"stoa/test/browser/chrome"
)

func TestMain(m *testing.M) { os.Exit(chrome.Main(m)) }

func need(t *testing.T, name, example string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: start stoa dev examples/shop and give %s, for example %s", name, name, example)
	}
	return v
}

// An order placed in the storefront is seen as one trace, from the gateway to payments, and on the map.
func TestOrder(t *testing.T) {
	gateway := need(t, "STOA_GATEWAY_URL", "http://127.0.0.1:8080")
	link := need(t, "STOA_DASH_URL", "http://127.0.0.1:7070/#login=TOKEN")

	p := chrome.Open(t, chrome.Options{})
	p.Go(strings.TrimRight(gateway, "/") + "/")
	p.Until("the shelf is full", `document.querySelectorAll('[data-test=product-card] [data-test=add-to-cart]:enabled').length > 0`)
	p.Click(`[data-test=product-card] [data-test=add-to-cart]:enabled`)
	p.Until("the cart counts one", `document.querySelector('[data-test=cart-count]').textContent.includes("1")`)
	p.Until("the drawer can be opened", `document.querySelector('[data-test=cart-line]') || document.querySelector('[data-test=cart-open]')`)
	if !chrome.Eval[bool](p, `Boolean(document.querySelector('[data-test=cart-line]')?.getClientRects().length)`) {
		p.Click(`[data-test=cart-open]`)
	}
	p.Click(`[data-test=checkout]`)
	p.Until("the carrier has named its prices", `document.querySelector('[data-test=checkout-form]') && document.querySelectorAll('[data-test=delivery-option]').length > 0`)
	for name, text := range map[string]string{"name": "Ada Byron", "email": "ada@example.com", "street": "Stoa 1", "postcode": "10555", "city": "Athens"} {
		fill(p, name, text)
	}
	p.Click(`[data-test=use-good-card]`)
	p.Click(`[data-test=place-order]`)
	p.Until("the order is confirmed", `document.querySelector('[data-test=order-confirmation]') && document.querySelector('[data-test=order-id]').textContent`)
	p.Until("it goes through", `!["out_of_stock", "undoing", "declined", "cancelled"].includes(document.querySelector('[data-test=order-status]').dataset.status)`)
	trace := chrome.Eval[string](p, `document.querySelector('[data-test=trace-id]').textContent.trim()`)
	if len(trace) < 8 {
		t.Fatalf("the order names trace %q, want its id", trace)
	}

	d := chrome.Open(t, chrome.Options{})
	d.Go(link + "&trace=" + url.QueryEscape(trace))
	d.Until("the dashboard is open", `document.body.dataset.phase === "open"`)
	// What is seen last may arrive a moment after the answer: the trace is opened anew until it is whole.
	for _, service := range []string{"orders", "inventory", "payments"} {
		d.Until("the trace passes "+service, reopened(trace, service))
	}
	d.Until("it is one tree with one root", `[...document.querySelectorAll('[data-test=span]')].filter(s => s.style.getPropertyValue("--depth") === "0").length === 1`)
	d.Click(`#trace .close`)
	d.Until("the list of traces has it, or later ones", `document.querySelectorAll('[data-test=trace-row]').length > 0`)
	d.Until("the map has the way that it took", `["gateway>storefront", "orders>inventory", "orders>payments"].every(k => document.querySelector('.edge[data-edge="' + k + '"]'))`)
	d.Until("all is well", `[...document.querySelectorAll('.node[data-service]')].every(n => n.dataset.mood === "ok")`)
}

// reopened is true when the waterfall has a span of service; else it closes the sheet and opens it again.
func reopened(trace, service string) string {
	return fmt.Sprintf(`(() => {
		if (document.querySelector('[data-test=span][data-callee=%q]')) return true;
		if (document.querySelector('[data-test=span], [data-test=trace-missing]')) {
			location.hash = location.hash.includes("trace=") ? "" : "#trace=%s";
		} else if (!location.hash.includes("trace=")) location.hash = "#trace=%s";
		return false;
	})()`, service, trace, trace)
}

func fill(p *chrome.Page, name, text string) {
	chrome.Eval[bool](p, fmt.Sprintf(`(e => { e.focus(); e.value = %q; e.dispatchEvent(new Event("input", {bubbles: true})); e.dispatchEvent(new Event("change", {bubbles: true})); return true; })(document.querySelector('[data-test=checkout-form] [name=%s]'))`, text, name))
}
