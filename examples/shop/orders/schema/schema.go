// Package schema is the shape of the database of orders, and its history.
//
// The job migrate brings a database to the last step before a release starts; the
// service itself changes no schema and is not ready on an older one.
package schema

// Steps are applied in order, each once. What is released is never changed: add one.
var Steps = []string{`
	CREATE TABLE orders (
		id      TEXT PRIMARY KEY,
		key     TEXT NOT NULL UNIQUE, -- Idempotency-Key of the request, or the id where there was none
		request TEXT NOT NULL,        -- digest of what was asked with it
		version INTEGER NOT NULL,     -- changes with every change: compare and swap
		due_ms  INTEGER,              -- when whoever finds it may go on with it; NULL when it has come to rest
		doc     TEXT NOT NULL         -- the order, JSON
	) STRICT;`, `
	CREATE INDEX orders_due ON orders (due_ms) WHERE due_ms IS NOT NULL;`,
}
