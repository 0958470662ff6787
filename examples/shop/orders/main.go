// Orders takes orders and sees them through: the stock is held, the card charged, the
// parcel sent, and if one of these fails, what was done before is taken back.
//
//	order.go   what an order is and what follows from what: pure
//	place.go   the desk, which carries an order from step to step, and the sweep for those left behind
//	book.go    where orders are kept
//	remote.go  the other contexts, over gRPC and HTTP
//	http.go    openapi.yaml
//
// Every step is written down before the next is taken, and each call carries the
// order's id as its key. So a process that dies at any point loses nothing and
// charges nobody twice: the sweep of the next one goes on, forward from where the
// customer has paid, backward from where not.
//
// One gap is known: a charge that is still on its way when its order is undone would
// be missed by the refund. It would have to be slower than callTime, twice.
package main

import (
	"errors"
	"os"

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
	inventory, err := DialInventory(os.Getenv("INVENTORY_ADDR"))
	if err != nil {
		log.Error("INVENTORY_ADDR is no address", "err", err)
		os.Exit(1)
	}
	client := serve.Client(2 * callTime) // each call has its own, shorter limit
	web := func(name, env string) Web { return Web{Name: name, Base: os.Getenv(env), Client: client} }
	desk := &Desk{
		book:      &Book{db},
		warehouse: inventory,
		till:      Payments{web("payments", "PAYMENTS_URL")},
		carrier:   Shipping{web("shipping", "SHIPPING_URL")},
		log:       log,
	}
	os.Exit(serve.Run(serve.Service{
		Handler:    Handler(desk, Catalog{web("catalog", "CATALOG_URL")}, Carts{web("cart", "CART_URL")}, log),
		Ready:      desk.book.Ready,
		Background: desk.Sweep,
		Close:      func() error { return errors.Join(inventory.Close(), db.Close()) },
	}, log))
}
