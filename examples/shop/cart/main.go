// Cart keeps what a customer means to buy: SKUs and quantities, and nothing that others own.
// Titles and prices are asked from the catalog whenever a cart is shown, so that a
// cart of last week shows today's price. If the catalog does not answer, the cart is
// shown without them.
package main

import (
	"context"
	"os"
	"time"

	"example.com/shop/internal/serve"
	"example.com/shop/internal/sqlitedb"
)

func main() {
	log := serve.Log()
	db, err := sqlitedb.OpenEnv()
	if err != nil {
		log.Error("no database", "err", err)
		os.Exit(1)
	}
	carts, err := Open(context.Background(), db)
	if err != nil {
		log.Error("no carts", "err", err)
		os.Exit(1)
	}
	catalog := Catalog{Base: os.Getenv("CATALOG_URL"), Client: serve.Client(3 * time.Second)}
	os.Exit(serve.Run(serve.Service{
		Handler:    Handler(carts, catalog, log),
		Ready:      db.PingContext,
		Background: func(ctx context.Context) { carts.Sweep(ctx, log) },
		Close:      db.Close,
	}, log))
}
