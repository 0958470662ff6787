// Migrate brings the database of orders to the schema of this release.
package main

import (
	"context"
	"os"

	"example.com/shop/internal/serve"
	"example.com/shop/internal/sqlitedb"
	"example.com/shop/orders/schema"
)

func main() {
	log := serve.Log()
	db, err := sqlitedb.OpenEnv()
	if err != nil {
		log.Error("no database", "err", err)
		os.Exit(1)
	}
	defer db.Close()
	n, err := sqlitedb.Migrate(context.Background(), db, schema.Steps)
	if err != nil {
		log.Error("not migrated", "err", err)
		os.Exit(1)
	}
	log.Info("migrated", "steps", n, "version", len(schema.Steps))
}
