package browser

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"stoa/test/browser/chrome"
)

const opened = `document.body.dataset.phase === "open" && document.querySelector('.node[data-service]')`

// The first look: a sentence, a map with live edges, a table with trouble first, lines and traces.
func TestFirstLook(t *testing.T) {
	s := start(t, "trouble")
	p := chrome.Open(t, chrome.Options{})
	p.Go(s.login)
	p.Until("the page is open", opened)
	p.Until("the login has left the address", `!location.href.includes("login")`)
	p.Until("one sentence says how it is", `document.querySelector('#verdict-text').textContent === "payments is crashing: exit 1, 5 times in 2 min"`)
	p.Until("the title says it too", `document.title.startsWith("● shop: payments is crashing")`)
	p.Until("trouble comes first", `[...document.querySelectorAll('[data-test=service-row]')].slice(0, 4).map(r => r.dataset.service).join() === "payments,orders,cart,shipping"`)
	p.Until("the map shows every service", `document.querySelectorAll('[data-test=map-node]').length === 8 && document.querySelector('[data-test=map-gateway]')`)
	p.Until("the ill one is marked, in words too", `(n => n.dataset.mood === "crit" && n.getAttribute("aria-label").includes("crashing"))(document.querySelector('[data-service=payments].node'))`)
	p.Until("edges live", `document.querySelectorAll('.edge[data-live]').length >= 8`)
	p.Until("an edge that fails is red", `document.querySelector('.edge[data-edge="orders>payments"]').style.getPropertyValue("--err") === "100%"`)
	p.Until("lines come", `document.querySelectorAll('[data-test=log-line]').length > 20`)
	p.Until("traces come", `document.querySelectorAll('[data-test=trace-row]').length > 5`)
	p.Until("nothing is wider than the page", `document.documentElement.scrollWidth <= innerWidth`)
}

// A click on the map opens a service; the address keeps it; Escape leaves.
func TestSelection(t *testing.T) {
	s := start(t, "trouble")
	p := chrome.Open(t, chrome.Options{})
	p.Go(s.login)
	p.Until("the page is open", opened)
	p.Click(`.node[data-service="payments"]`)
	p.Until("the detail is that of payments", `document.querySelector('[data-test=detail] h2').textContent === "payments" && location.hash === "#service=payments"`)
	p.Until("the last error is shown whole", `document.querySelector('[data-test=last-error]').textContent.includes("permission denied")`)
	p.Until("it says why, with evidence", `document.querySelector('[data-test=why] li').textContent.includes("CrashLoop") && document.querySelector('[data-test=why] pre').textContent.includes("ledger.db")`)
	p.Until("the log is that of payments", `(l => l.length > 0 && l.every(x => x.querySelector('.who').textContent === "payments"))([...document.querySelectorAll('[data-test=log-line]')])`)
	p.Do("reload", chromedp.Reload())
	p.Until("after a reload it is still selected", opened+` && document.querySelector('[data-test=detail] h2')?.textContent === "payments"`)
	p.Press(kb.Escape)
	p.Until("Escape leaves", `document.querySelector('[data-test=detail]').hidden && !location.hash`)
}

// Restart is asked for at once, stop only when confirmed.
func TestActions(t *testing.T) {
	s := start(t, "shop")
	p := chrome.Open(t, chrome.Options{})
	p.Go(s.login + "&service=orders")
	p.Until("the page is open", opened+` && !document.querySelector('[data-test=detail]').hidden`)
	p.Click(`[data-test=act-restart]`)
	p.Until("it is said", `document.querySelector('[data-test=toast]').textContent.includes("orders is being replaced")`)
	p.Click(`[data-test=act-stop]`)
	p.Until("it asks first, and names who will suffer", `document.querySelector('#confirm').open && document.querySelector('#confirm').textContent.includes("gateway, storefront")`)
	p.Press(kb.Escape)
	p.Until("the question is gone", `!document.querySelector('#confirm').open`)
	if got := s.asked(); !slices.Equal(got, []string{"restart orders"}) {
		t.Fatalf("the platform was asked %q, want only restart", got)
	}
	p.Click(`[data-test=act-stop]`)
	p.Click(`[data-test=confirm-stop]`)
	p.Until("it is stopped", `document.querySelector('.node[data-service="orders"]').dataset.state === "stopped"`)
	p.Click(`[data-test=act-start]`)
	p.Until("it runs again", `document.querySelector('.node[data-service="orders"]').dataset.state === "ready"`)
	if got := s.asked(); !slices.Equal(got, []string{"restart orders", "stop orders", "start orders"}) {
		t.Fatalf("the platform was asked %q", got)
	}
}

// A trace opens from the list and from a line, as a waterfall; Escape closes it.
func TestTrace(t *testing.T) {
	s := start(t, "shop")
	p := chrome.Open(t, chrome.Options{Dark: true})
	p.Go(s.login)
	p.Until("the page is open", opened+` && document.querySelector('[data-test=trace-row]') && document.querySelector('[data-test=log-trace]')`)
	p.Click(`[data-test=trace-row] .name`)
	p.Until("the waterfall has hops", `document.querySelectorAll('[data-test=span]').length >= 2 && location.hash.includes("trace=")`)
	p.Until("bars lie in their track", `[...document.querySelectorAll('[data-test=span] .bar')].every(b => { const r = b.getBoundingClientRect(), t = b.parentElement.getBoundingClientRect(); return r.width > 0 && r.left >= t.left - 1 && r.right <= t.right + 4; })`)
	p.Press(kb.Escape)
	p.Until("it is closed", `!document.querySelector('#trace').open && !location.hash`)
	p.Click(`[data-test=log-pause]`)
	p.Click(`[data-test=log-trace]`)
	p.Until("a line leads to its trace", `document.querySelector('#trace').open && document.querySelector('[data-test=span], [data-test=trace-missing]')`)
}

// The log holds still on Pause and shows only the level asked for.
func TestLogs(t *testing.T) {
	s := start(t, "shop")
	p := chrome.Open(t, chrome.Options{})
	p.Go(s.login)
	p.Until("lines come", opened+` && document.querySelectorAll('[data-test=log-line]').length > 20`)
	p.Click(`[data-test=log-pause]`)
	p.Until("it counts what waits", `/Go on \([2-9]/.test(document.querySelector('[data-test=log-pause]').textContent)`)
	p.Click(`[data-test=log-pause]`)
	p.Until("it goes on", `document.querySelector('[data-test=log-pause]').textContent === "Pause"`)
	chrome.Eval[bool](p, `(s => { s.value = "warn"; s.dispatchEvent(new Event("change")); return true; })(document.querySelector('[data-test=log-level]'))`)
	p.Until("only warnings are left", `(l => l.length > 0 && l.every(x => x.classList.contains("warn") || x.classList.contains("error")))([...document.querySelectorAll('[data-test=log-line]')])`)
}

// A platform that is gone is said to be gone; what is seen stays, marked as old; it comes back by itself.
func TestStale(t *testing.T) {
	s := start(t, "shop")
	p := chrome.Open(t, chrome.Options{Expect: []string{"ERR_EMPTY_RESPONSE", "ERR_CONNECTION", "ERR_INCOMPLETE", "Failed to load resource"}})
	p.Go(s.login)
	p.Until("the page is open", opened)
	s.tell("break")
	p.Until("it is said", `!document.querySelector('[data-test=stale]').hidden && document.querySelector('[data-test=stale]').textContent.includes("does not answer")`)
	p.Until("what was known is still there", `document.querySelectorAll('[data-test=map-node]').length === 8 && document.body.hasAttribute("data-stale")`)
	s.tell("mend")
	p.Until("it comes back", `document.querySelector('[data-test=stale]').hidden && !document.body.hasAttribute("data-stale")`)
	s.tell("show?system=trouble")
	p.Until("and shows what is new", `document.querySelector('#verdict-text').textContent.startsWith("payments is crashing")`)
}

// Without a session, and when one ends, the page says what to do.
func TestClosed(t *testing.T) {
	s := start(t, "shop")
	quiet := []string{"401"}
	p := chrome.Open(t, chrome.Options{Expect: quiet})
	p.Go(s.base + "/")
	closed := `!document.querySelector('[data-test=closed]').hidden && document.querySelector('[data-test=closed]').innerText.includes("stoa dash") && !document.querySelector('main').getClientRects().length`
	p.Until("without a link it asks for one", closed)
	p.Go(s.base + "/#login=worn-out")
	p.Until("a used link is told apart", `document.querySelector('[data-test=closed]').innerText.includes("used already")`)
	p.Go(s.login)
	p.Until("a fresh link opens it", opened)
	s.tell("expire")
	p.Until("the end of the session is said", closed)
}

// On a phone everything is there, in one column, and the map runs downwards.
func TestNarrow(t *testing.T) {
	s := start(t, "shop")
	p := chrome.Open(t, chrome.Options{Width: 390, Height: 844, Dark: true})
	p.Go(s.login)
	p.Until("the page is open", opened)
	p.Until("nothing is wider than the page", `document.documentElement.scrollWidth <= 390`)
	p.Until("the map runs downwards and can be seen", `document.querySelector('.stage').hasAttribute("data-down") && document.querySelector('.stage').clientHeight > 200`)
	p.Until("no cell is cut off", `[...document.querySelectorAll('.services td')].every(c => !c.getClientRects().length || c.getBoundingClientRect().right <= 390)`)
}

// The map can be walked through by keys.
func TestKeys(t *testing.T) {
	s := start(t, "shop")
	p := chrome.Open(t, chrome.Options{})
	p.Go(s.login)
	p.Until("the page is open", opened)
	chrome.Eval[bool](p, `(document.querySelector('.node[tabindex="0"]').focus(), true)`)
	p.Press(kb.ArrowRight)
	p.Until("the arrow moves to the next service", `document.activeElement.dataset.service === "storefront"`)
	p.Press(kb.Enter)
	p.Until("Enter opens it", `location.hash === "#service=storefront"`)
}

// asked gives what the page has asked the stand-in to change.
func (s *stand) asked() []string {
	s.t.Helper()
	res, err := http.Get(s.base + "/test/asked")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var list []string
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
		s.t.Fatal(err)
	}
	return list
}
