package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// What the shop is like while it is overloaded. Each call takes a while, as if it waited for a
// database, and only so many are at a service at a time. So the capacity is that of the services,
// and not of the cores that the shop shares with those who measure it.
const (
	callTakes  = "50ms"
	callsAtAll = 8
)

// The load.
const (
	leastRate  = 60 // requests a second, from which on it is looked for the best
	mostRate   = 4000
	overloadBy = 5
	stepFor    = 8 * time.Second
	overFor    = 20 * time.Second
	settles    = 10 * time.Second // after the load is gone
	mostAtOnce = 4000             // requests under way
	askTime    = 5 * time.Second  // after which a customer has left
)

// customers say what is asked for, with the share of all requests in hundredths, from what the
// shop lives by to what it can do without.
var customers = []struct {
	name  string
	share int
	path  string // of a GET; "": places an order
}{
	{"checkout", 2, ""},
	{"stock", 18, "/bff/stock?skus=bowl"},
	{"products", 45, "/api/catalog/products/bowl"},
	{"pictures", 35, "/api/catalog/products/bowl/picture.svg"},
}

const anOrder = `{"items":[{"sku":"candle","quantity":1}],"customer":{"name":"Thea Lykos","email":"thea@example.com"},` +
	`"address":{"street":"Odos Ermou 12","city":"Athens","postcode":"10563","country":"GR"},"delivery":"standard",` +
	`"card":{"number":"4242 4242 4242 4242","expiry":"12/39","cvc":"123"}}`

// A seen is what became of the requests of a run, by customers.
type seen struct {
	asked, good, shed []int
	took              time.Duration
}

// rate is the goodput, a second.
func (s seen) rate() float64 {
	n := 0
	for _, g := range s.good {
		n += g
	}
	return float64(n) / s.took.Seconds()
}

// String gives the share that was served of each kind, and of the rest who was not refused.
func (s seen) String() string {
	var parts []string
	for i, k := range customers {
		text := fmt.Sprintf("%s %.0f %%", k.name, 100*float64(s.good[i])/float64(max(1, s.asked[i])))
		if lost := s.asked[i] - s.good[i] - s.shed[i]; lost > 0 {
			text += fmt.Sprintf(" (%d of %d lost)", lost, s.asked[i])
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// drive sends requests at a rate, however slow the answers are.
func drive(gateway string, rate int, lasts time.Duration) seen {
	n := len(customers)
	s := seen{asked: make([]int, n), good: make([]int, n), shed: make([]int, n)}
	var mu sync.Mutex // of s
	client := &http.Client{Timeout: askTime, Transport: &http.Transport{MaxIdleConnsPerHost: mostAtOnce}}
	defer client.CloseIdleConnections()
	slots := make(chan struct{}, mostAtOnce)
	var all sync.WaitGroup
	began := time.Now()
	for i := 0; time.Since(began) < lasts; i++ {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			who := i * 37 % 100 // each hundred in another order than by kind
			kind := 0
			for who >= customers[kind].share {
				who -= customers[kind].share
				kind++
			}
			status := send(client, gateway, customers[kind].path)
			mu.Lock()
			defer mu.Unlock()
			s.asked[kind]++
			switch {
			case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
				s.shed[kind]++
			case status != 0 && status < 500:
				s.good[kind]++
			}
		})
	}
	s.took = time.Since(began)
	all.Wait()
	return s
}

// send gives the status of an answer, 0 if there was none in time. A stock that is not told is no
// answer, either.
func send(client *http.Client, gateway, path string) int {
	var resp *http.Response
	var err error
	if path == "" {
		resp, err = client.Post(gateway+"/api/orders", "application/json", strings.NewReader(anOrder))
	} else {
		resp, err = client.Get(gateway + path)
	}
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0
	}
	if strings.Contains(string(b), `"degraded":`) {
		return http.StatusServiceUnavailable
	}
	return resp.StatusCode
}

// overload measures what the shop does at five times the load that it can serve.
func (b *bench) overload() {
	dir, err := os.MkdirTemp("/tmp", "so")
	check(err)
	defer os.RemoveAll(dir)
	check(os.CopyFS(dir, os.DirFS(*shop)))
	system := filepath.Join(dir, "stoa.yaml")
	text, err := os.ReadFile(system)
	check(err)
	bounded := strings.Replace(string(text), "name: shop\n", fmt.Sprintf("name: shop\ndefaults: {concurrency: {max: %d}}\n", callsAtAll), 1)
	check(os.WriteFile(system, []byte(bounded), 0o600))
	p := start("dev", dir, "--no-watch")
	defer os.RemoveAll(filepath.Dir(p.data))
	defer p.stop()
	p.ready()
	for _, s := range []string{"catalog", "storefront", "inventory"} {
		_, err := p.stoa("inject", s, "--delay", callTakes, "--for", "1h")
		check(err)
	}
	drive(p.gateway, leastRate/2, stepFor) // warm
	best, serves := seen{}, leastRate
	for rate := leastRate; rate <= mostRate; rate = rate * 5 / 4 {
		s := drive(p.gateway, rate, stepFor)
		fmt.Fprintf(os.Stderr, "  %d/s: %.0f/s good: %s\n", rate, s.rate(), s)
		if best.took == 0 || s.rate() > best.rate() {
			best = s
		}
		if s.rate() < 0.95*float64(rate) { // more than it can serve
			break
		}
		serves = rate
	}
	over := drive(p.gateway, overloadBy*serves, overFor)
	fmt.Fprintf(os.Stderr, "  %d/s: %.0f/s good: %s\n", overloadBy*serves, over.rate(), over)
	b.add(fmt.Sprintf("the shop at %d times the %d requests/s that it can serve: goodput, beside its best", overloadBy, serves), "above 90 %, checkout shed last",
		"%.0f %% (%.0f of %.0f/s); served of each: %s", 100*over.rate()/best.rate(), over.rate(), best.rate(), over)
	time.Sleep(settles)
	after := drive(p.gateway, serves/2, stepFor)
	b.add(fmt.Sprintf("ten seconds after that load is gone, at %d requests/s", serves/2), "all is normal", "served of each: %s", after)
}
