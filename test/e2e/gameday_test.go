package e2e

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// customers look at the shop until they leave, a few times a second each.
type customers struct {
	clean, degraded atomic.Int64 // answers about the stock
	row             atomic.Int64 // clean ones since the last degraded one
	looks           atomic.Int64 // at pages, products and carts
	leave           func()

	mu    sync.Mutex
	wrong map[string]int // answers that are no use to a customer; guarded by mu
}

// visitors are as many as a node lets into a service however slow it becomes.
const visitors = 8

func arrive(t *testing.T, gateway string) *customers {
	c := &customers{wrong: map[string]int{}}
	left := make(chan struct{})
	var all sync.WaitGroup
	c.leave = sync.OnceFunc(func() { close(left); all.Wait() })
	t.Cleanup(c.leave)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * visitors}}
	again := func(do func()) {
		for {
			select {
			case <-left:
				return
			default:
				do()
				pause()
			}
		}
	}
	for range visitors {
		all.Go(func() {
			again(func() {
				body := c.ask(client, http.MethodGet, gateway+"/bff/stock?skus=bowl,lamp", http.StatusOK)
				switch {
				case strings.Contains(body, `"degraded":`):
					c.degraded.Add(1)
					c.row.Store(0)
				case body != "":
					c.clean.Add(1)
					c.row.Add(1)
				}
			})
		})
	}
	all.Go(func() {
		again(func() {
			c.ask(client, http.MethodGet, gateway+"/", http.StatusOK)
			c.ask(client, http.MethodGet, gateway+"/api/catalog/products?q=oak", http.StatusOK)
			c.ask(client, http.MethodPost, gateway+"/api/cart", http.StatusCreated)
			c.looks.Add(1)
		})
	})
	return c
}

// ask gives the body of an answer that has to have the status, "" for another.
func (c *customers) ask(client *http.Client, method, url string, status int) string {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		panic(err)
	}
	resp, err := client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		var b []byte
		if b, err = io.ReadAll(resp.Body); err == nil && resp.StatusCode == status {
			return string(b)
		}
		err = fmt.Errorf("%s %s: %d %.300s %v", method, req.URL.Path, resp.StatusCode, b, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong[err.Error()]++
	return ""
}

// A game day on the shop: inventory fails in three calls of ten, then becomes slower than anyone waits, too.
// The shop stays of use and says what is missing, repeats keep to the budget, the breaker opens and
// closes again, and nothing waits beyond its deadline.
func TestGameDay(t *testing.T) {
	p := prepare(t)
	shop, err := filepath.Abs("../../examples/shop")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p.start("dev", shop, "--no-watch")
	p.ready()
	c := arrive(t, p.gateway)
	goal := func(what string, n *atomic.Int64, more int64) {
		t.Helper()
		to := n.Load() + more
		until(t, what, func() bool { return n.Load() >= to })
	}
	since := func() time.Duration { return time.Since(began).Round(time.Second / 10) }
	t.Logf("%v: ready", since())
	// Whose time the delay uses up has a breaker of its own, if others wait longer. Either may open.
	state := func() float64 {
		m := p.meters()
		return max(m.sum("stoa_proxy_breaker_state", `upstream="inventory"`), m.sum("stoa_proxy_timeout_breaker_state", `upstream="inventory"`))
	}
	told := func() string { return p.must("top") }

	goal("the stock is known", &c.clean, 20)
	if n := c.degraded.Load(); n > 0 {
		t.Errorf("%d answers were degraded before anything was injected", n)
	}

	// Whoever asks for more time than there is waits no longer than the path allows: 15 s.
	p.must("inject", "catalog", "--delay", "5m", "--header", "X-Test-Fault: yes", "--from", "gateway")
	late := make(chan string, 1)
	go func() {
		req, _ := http.NewRequest(http.MethodGet, p.gateway+"/api/catalog/products?q=oak", nil)
		req.Header.Set("X-Test-Fault", "yes")
		resp, err := (&http.Client{Timeout: patience}).Do(req)
		if err != nil {
			late <- err.Error()
			return
		}
		resp.Body.Close()
		late <- resp.Status
	}()

	p.must("inject", "inventory", "--abort", "503", "--percent", "30", "--for", "10m", "--reason", "game day")
	until(t, "failures are repeated", func() bool { return p.meters().sum("stoa_proxy_retries_total", `callee="inventory"`) >= 20 })
	goal("most repeats succeed", &c.clean, 50)
	t.Logf("%v: 30 %% errors: %d clean, %d degraded", since(), c.clean.Load(), c.degraded.Load())

	p.must("inject", "inventory", "--delay", "2s", "--for", "10m", "--reason", "game day")
	until(t, "the breaker of inventory opens", func() bool { return state() == 1 })
	t.Logf("%v: the breaker is open", since())
	until(t, "stoa top tells", func() bool { return strings.Contains(told(), "breaker open") })
	goal("the page goes without the stock, and says so", &c.degraded, 50)
	goal("the rest of the shop goes on", &c.looks, 10)
	if p.meters().sum("stoa_proxy_shed_total", `upstream="inventory"`, `why="breaker"`) == 0 {
		t.Error("the breaker refused nothing")
	}
	if code, o := place(t, p.gateway, "4242 4242 4242 4242"); code != http.StatusServiceUnavailable && code != http.StatusCreated && code != http.StatusAccepted {
		t.Errorf("an order during the faults: %d %+v, want it refused or taken", code, o)
	}

	t.Logf("%v: and the shop of use: %d clean, %d degraded", since(), c.clean.Load(), c.degraded.Load())

	// Where the carrier fails, what it said last stands in, and says so.
	rates := func() string {
		_, body, err := get(p.gateway + "/bff/rates?country=GR&grams=520")
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	until(t, "the carrier tells its prices", func() bool { return strings.Contains(rates(), `"rates":`) })
	p.must("inject", "shipping", "--abort", "503", "--from", "storefront", "--for", "10m")
	until(t, "what it said last stands in", func() bool {
		told := rates()
		return strings.Contains(told, `"rates":`) && strings.Contains(told, `"degraded":`)
	})
	if p.meters().sum("stoa_proxy_fallbacks_total", `callee="shipping"`, `kind="cached"`) == 0 {
		t.Error("the series do not tell of the fallback")
	}
	p.must("faults", "clear", "shipping")
	until(t, "the carrier tells its prices again", func() bool { return !strings.Contains(rates(), `"degraded":`) })

	p.must("faults", "clear", "inventory")
	until(t, "the breaker closes", func() bool { return state() == 0 })
	t.Logf("%v: the breaker is closed", since())
	until(t, "the stock is known again", func() bool { return c.row.Load() >= 50 })
	until(t, "an order goes through", func() bool {
		code, _ := place(t, p.gateway, "4242 4242 4242 4242")
		return code == http.StatusCreated
	})
	c.leave()
	if s := <-late; s != "504 Gateway Timeout" {
		t.Errorf("a request that met a delay of 5 minutes: %s, want 504", s)
	}

	m, lasted := p.meters(), time.Since(began)
	retries, requests := m.sum("stoa_proxy_retries_total", `callee="inventory"`), m.sum("stoa_proxy_requests_total", `callee="inventory"`)
	// A fifth of the requests, and ten a second, which are kept for ten seconds.
	if most := 0.2*requests + 10*(lasted.Seconds()+10); retries > most {
		t.Errorf("%.0f repeats of %.0f requests in %v: the budget allows %.0f", retries, requests, lasted, most)
	}
	t.Logf("%v: %d clean, %d degraded; %.0f requests to inventory, %.0f repeats, %.0f not repeated for the budget, %.0f refused by the breaker",
		lasted.Round(time.Second), c.clean.Load(), c.degraded.Load(), requests, retries,
		m.sum("stoa_proxy_retries_refused_total", `callee="inventory"`, `why="budget"`), m.sum("stoa_proxy_shed_total", `upstream="inventory"`, `why="breaker"`))
	if len(c.wrong) > 0 {
		t.Errorf("answers that were of no use: %v", c.wrong)
	}
}
