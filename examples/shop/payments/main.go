// Payments charges cards and gives the money back.
//
// It plays the acquirer as well: rules.go decides which cards are good. A charge is
// made under an Idempotency-Key, so that a caller that heard no answer may ask again
// without paying twice. Of a card it keeps the last four digits and nothing else.
package main

import (
	"cmp"
	"context"
	"os"
	"strconv"

	"example.com/shop/internal/serve"
	"example.com/shop/internal/sqlitedb"
)

func main() {
	log := serve.Log()
	limit, err := strconv.ParseInt(cmp.Or(os.Getenv("DECLINE_ABOVE"), "500000"), 10, 64)
	if err != nil {
		log.Error("DECLINE_ABOVE: want an amount in cents", "err", err)
		os.Exit(1)
	}
	db, err := sqlitedb.OpenEnv()
	if err != nil {
		log.Error("no database", "err", err)
		os.Exit(1)
	}
	ledger, err := Open(context.Background(), db)
	if err != nil {
		log.Error("no ledger", "err", err)
		os.Exit(1)
	}
	os.Exit(serve.Run(serve.Service{
		Handler: Handler(ledger, Rules{DeclineAbove: limit}, log),
		Ready:   db.PingContext,
		Close:   db.Close,
	}, log))
}
