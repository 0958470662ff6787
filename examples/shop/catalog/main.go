// Catalog tells what the shop sells: titles, prices, pictures. What there is of each
// thing is not its business but the warehouse's.
//
// The products are part of the program. A new one is a new release.
package main

import (
	"os"

	"example.com/shop/internal/serve"
)

func main() {
	log := serve.Log()
	shelf, err := Load()
	if err != nil {
		log.Error("no products", "err", err)
		os.Exit(1)
	}
	os.Exit(serve.Run(serve.Service{Handler: Handler(shelf, log)}, log))
}
