// Storefront is the shop's face: the page, and a small backend of its own that asks
// what the page cannot, because the services that know are not open to the outside.
//
// The page talks to catalog, cart and orders through the gateway it came from.
package main

import (
	"net/http"
	"os"
	"time"

	"example.com/shop/internal/serve"
)

func main() {
	log := serve.Log()
	pages, err := LoadPages()
	if err != nil {
		log.Error("no pages", "err", err)
		os.Exit(1)
	}
	stock, err := DialStock(os.Getenv("INVENTORY_ADDR"))
	if err != nil {
		log.Error("INVENTORY_ADDR is no address", "err", err)
		os.Exit(1)
	}
	backend := Backend{Stock: stock, Rates: Rates{Base: os.Getenv("SHIPPING_URL"), Client: serve.Client(5 * time.Second)}, Log: log}

	mux := http.NewServeMux()
	mux.Handle("/bff/", backend.Handler())
	mux.Handle("/", pages)
	os.Exit(serve.Run(serve.Service{Handler: mux, Close: stock.Close}, log))
}
