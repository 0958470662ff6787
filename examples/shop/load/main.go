// Command load is the shop's customers: it drives traffic through the gateway as a shop
// has it. Most people look, some fill a cart, few buy, and now and then a card is declined.
//
//	GATEWAY_URL  where the shop is
//	LOAD_RATE    requests a second, all visits together; undeclared: 10
//
// It ends on SIGTERM, and says every ten seconds what it saw.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// visitsAtOnce bounds the visits under way: a shop that is slow gets no more of them.
const visitsAtOnce = 64

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil)).With("service", "load")
	gateway := os.Getenv("GATEWAY_URL")
	if gateway == "" {
		log.Error("GATEWAY_URL is not set: say where the shop is")
		os.Exit(1)
	}
	rate, err := rateOf(os.Getenv("LOAD_RATE"))
	if err != nil {
		log.Error(err.Error())
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log.Info("customers arrive", "gateway", gateway, "rate", rate)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: visitsAtOnce}}
	drive(ctx, log, client, gateway, rate)
}

// rateOf reads LOAD_RATE: requests a second, 10 if nothing is said.
func rateOf(s string) (int, error) {
	if s == "" {
		return 10, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 10_000 {
		return 0, fmt.Errorf("LOAD_RATE must be 1 to 10000, is %q", s)
	}
	return n, nil
}

// reportEvery is the time between two lines of what was seen.
const reportEvery = 10 * time.Second

// drive lets visits begin so that their requests come at the rate, until ctx ends.
func drive(ctx context.Context, log *slog.Logger, client *http.Client, gateway string, rate int) {
	var seen tally
	tickets := make(chan struct{}) // one for each request
	slots := make(chan struct{}, visitsAtOnce)
	var visits sync.WaitGroup
	visits.Go(func() { meter(ctx, tickets, time.Second/time.Duration(rate)) })
	visits.Go(func() { report(ctx, log, &seen) })
	for n := uint64(0); ctx.Err() == nil; n++ {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		v := visit{client: client, gateway: gateway, seen: &seen, rand: rand.New(rand.NewPCG(n, uint64(time.Now().UnixNano()))), ticket: func() bool {
			select {
			case <-tickets:
				return true
			case <-ctx.Done():
				return false
			}
		}}
		// A visit begins when a ticket is there for its first request.
		if !v.ticket() {
			break
		}
		visits.Go(func() {
			defer func() { <-slots }()
			v.run(ctx)
		})
	}
	visits.Wait()
	log.Info("customers have left", seen.attrs()...)
}

// report says at even distances what was seen.
func report(ctx context.Context, log *slog.Logger, seen *tally) {
	t := time.NewTicker(reportEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			log.Info("customers", seen.attrs()...)
		case <-ctx.Done():
			return
		}
	}
}

// meter hands out tickets at even distances.
func meter(ctx context.Context, tickets chan<- struct{}, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		select {
		case tickets <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

// A tally counts what the customers saw.
type tally struct {
	mu                                          sync.Mutex
	requests, errors, orders, declined, soldOut int              // since the start; guarded by mu
	took                                        []time.Duration  // since the last report; guarded by mu
	kinds                                       [len(kinds)]kind // guarded by mu
}

// kinds are what customers ask for, from what the shop can do without to what it lives by.
var kinds = [...]string{"pages", "browse", "cart", "checkout"}

// The kinds, as indexes.
const (
	pages    = iota // the page and its pictures
	browse          // products, and what is told of them
	cart            // putting something into one
	checkout        // ordering
)

// kind counts the requests of a kind. Good are those that got what they came for (a declined card
// is an answer), shed those that the shop refused to spare itself, degraded the good ones that
// said that something was missing.
type kind struct {
	asked, good, shed, degraded int // since the start
	since                       int // good, since the last report
}

func (t *tally) add(f func(*tally)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t)
}

// attrs gives the line of the log: what was counted since the start, how long answers
// took since the line before. It begins another line.
func (t *tally) attrs() []any {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.took)
	share := func(p int) string { // the duration within which p of a hundred requests were answered
		if len(t.took) == 0 {
			return "-"
		}
		return t.took[min(len(t.took)-1, len(t.took)*p/100)].Round(100 * time.Microsecond).String()
	}
	a := []any{"requests", t.requests, "errors", t.errors, "orders", t.orders, "declined", t.declined, "soldOut", t.soldOut, "p50", share(50), "p99", share(99)}
	for i := range t.kinds {
		k := &t.kinds[i]
		a = append(a, kinds[i], *k)
		k.since = 0
	}
	t.took = t.took[:0]
	return a
}

// LogValue shows what was counted, and good a second since the last report.
func (k kind) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("asked", k.asked), slog.Int("good", k.good), slog.Int("shed", k.shed), slog.Int("degraded", k.degraded),
		slog.Float64("goodput", float64(k.since)/reportEvery.Seconds()))
}
