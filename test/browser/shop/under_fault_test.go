package shop

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"stoa/test/browser/chrome"
)

// recovery is how long it may take until all is normal: a breaker that has opened again and
// again waits a minute and a quarter between two trials, and rates look ten seconds back.
const recovery = 4 * time.Minute

// stoa runs the command line and gives what it printed.
func stoa(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(need(t, "STOA_BIN", "bin/stoa"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("stoa %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// visitors ask the storefront for stock and for prices of sending, eight at a time, until the test ends.
func visitors(t *testing.T, gateway string) {
	left := make(chan struct{})
	var all sync.WaitGroup
	t.Cleanup(func() { close(left); all.Wait() })
	client := &http.Client{Timeout: chrome.Patience}
	for i := range 8 {
		path := "/bff/stock?skus=bowl,lamp"
		if i == 0 {
			path = "/bff/rates?country=GR&grams=520"
		}
		all.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-left:
					return
				case <-tick.C:
				}
				if resp, err := client.Get(gateway + path); err == nil { // what visitors get is told by the pages
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
		})
	}
}

// A game day, as people see it: inventory fails in three calls of ten and takes longer than anybody waits, the
// carrier is away. The dashboard shows the faults, the breaker that opens, the answers that
// stand in, and how a fault is ended; the storefront says what is missing, and sells on. The
// commands that the dashboard shows end it, and all is normal again.
func TestGameDay(t *testing.T) {
	gateway := strings.TrimRight(need(t, "STOA_GATEWAY_URL", "http://127.0.0.1:8080"), "/")
	need(t, "STOA_DATA", "the data folder of the running Stoa")

	d := chrome.Open(t, chrome.Options{Width: 1280, Height: 900})
	d.Go(stoa(t, "dash"))
	d.Until("the dashboard is open", `document.body.dataset.phase === "open" && document.querySelector('.node[data-service=inventory]')`)
	shop := chrome.Open(t, chrome.Options{Width: 1280, Height: 900})
	shop.Go(gateway + "/")
	shelf := `document.querySelectorAll('[data-test=product-card] [data-test=add-to-cart]:enabled').length > 4`
	shop.Until("the shelf is full", shelf)
	visitors(t, gateway)
	d.Until("prices are asked for", `document.querySelector('.edge[data-edge="storefront>shipping"][data-live]')`)
	d.Until("nothing is amiss", `!document.querySelector('[data-test=map-sign], [data-test=sign]')`)
	shop.Until("the shop says nothing is missing", `!document.querySelector('[data-test=degraded]:not([hidden])')`)

	t.Cleanup(func() { exec.Command(os.Getenv("STOA_BIN"), "faults", "clear").Run() })
	stoa(t, "inject", "inventory", "--abort", "503", "--percent", "30", "--for", "30m", "--reason", "game day")
	stoa(t, "inject", "inventory", "--delay", "2s", "--for", "30m", "--reason", "game day") // as long as the storefront waits
	stoa(t, "inject", "shipping", "--abort", "503", "--from", "storefront", "--for", "30m")

	sign := func(service, kind string) string {
		return fmt.Sprintf(`document.querySelector('.node[data-service=%s] [data-test=map-sign][data-kind=%s]')`, service, kind)
	}
	d.Until("the map shows the faults", sign("inventory", "fault")+` && `+sign("shipping", "fault"))
	d.Until("the map shows the breaker open", sign("inventory", "open")+`?.textContent.startsWith("breaker open")`)
	d.Until("the list says so", `document.querySelector('[data-test=service-row][data-service=inventory]').innerText.includes("breaker open")`)
	d.Until("and what stands in for the carrier", sign("shipping", "fallback")+` && document.querySelector('[data-test=service-row][data-service=shipping]').innerText.includes("cached fallback answers")`)
	d.Until("the label of the node says it to who cannot see", `document.querySelector('.node[data-service=inventory]').getAttribute("aria-label").includes("breaker open")`)
	picture(d, "gameday-map")

	guard := func(key, want string) string {
		return fmt.Sprintf(`document.querySelector('[data-test=guards] [data-guard=%s]').innerText.includes(%q)`, key, want)
	}
	chrome.Eval[bool](d, `(location.hash = "#service=inventory", true)`)
	d.Until("its page tells since when", guard("breaker", "open since"))
	d.Until("and what the window told", guard("breaker", "In the 10 s before it opened")+` && `+guard("breaker", "refused in all"))
	d.Until("two faults are in force, with their end and author", guard("faults", "2 in force")+` && `+guard("faults", "wait 2s")+` && `+guard("faults", "(game day); ends in 2"))
	d.Until("retries have a budget", guard("retries", "of the budget used"))
	picture(d, "gameday-inventory")

	shop.Do("reload the shop", chromedp.Reload())
	shop.Until("the shelf is full all the same", shelf)
	shop.Until("a person sees that the stock is missing", `(n => {
		const r = n.getBoundingClientRect(), style = getComputedStyle(n);
		return n.textContent.includes("The warehouse does not answer") && r.height > 10 && r.top >= 0 && r.bottom <= innerHeight
			&& style.visibility === "visible" && n.contains(document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2)) && n.getAttribute("role") === "status";
	})(document.querySelector('[data-test=degraded]'))`)
	picture(shop, "gameday-shop")

	// What the dashboard says ends a fault, ends it.
	for _, service := range []string{"inventory", "shipping"} {
		chrome.Eval[bool](d, fmt.Sprintf(`(location.hash = "#service=%s", true)`, service))
		d.Until("the faults of "+service+" are told", fmt.Sprintf(`document.querySelector('[data-test=detail] h2').textContent === %q && document.querySelector('[data-test=fault] code')`, service))
		for _, command := range chrome.Eval[[]string](d, `[...document.querySelectorAll('[data-test=fault] code')].map(c => c.textContent)`) {
			words := strings.Fields(command)
			if len(words) < 2 || words[0] != "stoa" {
				t.Fatalf("the dashboard shows the command %q", command)
			}
			stoa(t, words[1:]...)
		}
		d.Until("no fault of "+service+" is left", `!document.querySelector('[data-test=fault]')`)
	}
	chrome.Eval[bool](d, `(location.hash = "", true)`)
	d.Within(recovery, "all is normal again", `!document.querySelector('[data-test=map-sign], [data-test=sign]') && [...document.querySelectorAll('.node[data-service]')].every(n => n.dataset.mood === "ok")`)
	d.Until("the page says so", `document.querySelector('#verdict-text').textContent.startsWith("All ")`)
	shop.Do("reload the shop", chromedp.Reload())
	shop.Until("the stock is told again", shelf+` && document.querySelector('[data-test=degraded]')?.hidden`)
}

// picture leaves a picture in $STOA_SHOTS, if that names a folder.
func picture(p *chrome.Page, name string) {
	if dir := os.Getenv("STOA_SHOTS"); dir != "" {
		p.Picture(dir + "/" + name + ".png")
	}
}
