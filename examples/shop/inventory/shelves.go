package main

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"example.com/shop/internal/sqlitedb"
)

//go:embed stock.json
var stockJSON []byte

// full is how many pieces of each SKU a full shelf holds.
func full() (map[string]int, error) {
	shelves := map[string]int{}
	if err := json.Unmarshal(stockJSON, &shelves); err != nil {
		return nil, fmt.Errorf("stock.json: %w", err)
	}
	return shelves, nil
}

var schema = []string{`
	CREATE TABLE stock (
		sku       TEXT PRIMARY KEY,
		available INTEGER NOT NULL CHECK (available >= 0),
		full      INTEGER NOT NULL
	) STRICT;
	CREATE TABLE reservation (
		id    TEXT PRIMARY KEY,
		state TEXT NOT NULL CHECK (state IN ('held', 'released'))
	) STRICT;
	CREATE TABLE reserved (
		reservation TEXT NOT NULL REFERENCES reservation (id),
		sku         TEXT NOT NULL REFERENCES stock (sku),
		quantity    INTEGER NOT NULL CHECK (quantity > 0),
		PRIMARY KEY (reservation, sku)
	) STRICT;`}

// errReleased: the reservation was given up before, and its id cannot be used again.
var errReleased = errors.New("this reservation was released")

// Shelves keep stock and reservations in a database. Safe for concurrent use, also
// by two processes: each method is one transaction.
//
// Invariant: available + what is reserved and held never exceeds what was ever shelved.
type Shelves struct{ db *sql.DB }

// Open prepares the schema and shelves the SKUs that db does not know yet.
func Open(ctx context.Context, db *sql.DB) (*Shelves, error) {
	if _, err := sqlitedb.Migrate(ctx, db, schema); err != nil {
		return nil, err
	}
	pieces, err := full()
	if err != nil {
		return nil, err
	}
	for sku, n := range pieces {
		_, err := db.ExecContext(ctx, `INSERT INTO stock (sku, available, full) VALUES (?1, ?2, ?2)
			ON CONFLICT (sku) DO UPDATE SET full = excluded.full`, sku, n)
		if err != nil {
			return nil, err
		}
	}
	return &Shelves{db}, nil
}

// An Item is a number of pieces of one SKU.
type Item struct {
	SKU      string
	Quantity int
}

// Available returns the pieces of sku that can be promised now.
func (s *Shelves) Available(ctx context.Context, sku string) (int, error) {
	return available(ctx, s.db, sku)
}

func available(ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, sku string) (n int, err error) {
	err = q.QueryRowContext(ctx, "SELECT available FROM stock WHERE sku = ?", sku).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, err
}

// Reserve holds all items under id, or none and returns what there is of those that are short.
func (s *Shelves) Reserve(ctx context.Context, id string, items []Item) (short []Item, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()

	var state string
	switch err := tx.QueryRowContext(ctx, "SELECT state FROM reservation WHERE id = ?", id).Scan(&state); {
	case err == nil && state == "released":
		return nil, errReleased
	case err == nil:
		return nil, nil // held already: the caller asks again because it did not hear the answer
	case !errors.Is(err, sql.ErrNoRows):
		return nil, err
	}

	for _, it := range items {
		n, err := available(ctx, tx, it.SKU)
		if err != nil {
			return nil, err
		}
		if n < it.Quantity {
			short = append(short, Item{it.SKU, n})
		}
	}
	if len(short) > 0 {
		return short, nil
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO reservation (id, state) VALUES (?, 'held')", id); err != nil {
		return nil, err
	}
	for _, it := range items {
		if _, err := tx.ExecContext(ctx, "UPDATE stock SET available = available - ? WHERE sku = ?", it.Quantity, it.SKU); err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO reserved VALUES (?, ?, ?)", id, it.SKU, it.Quantity); err != nil {
			return nil, err
		}
	}
	return nil, tx.Commit()
}

// Release puts the pieces held under id back and reports whether there were any. A
// Reserve of the same id that comes later is refused: it may have been overtaken.
func (s *Shelves) Release(ctx context.Context, id string) (bool, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback()
	res, err := tx.ExecContext(ctx, "UPDATE reservation SET state = 'released' WHERE id = ? AND state = 'held'", id)
	if err != nil {
		return false, err
	}
	held, err := res.RowsAffected()
	if err != nil {
		return false, err
	}
	if held == 0 {
		_, err = tx.ExecContext(ctx, "INSERT INTO reservation (id, state) VALUES (?, 'released') ON CONFLICT (id) DO NOTHING", id)
	} else {
		_, err = tx.ExecContext(ctx, `UPDATE stock SET available = available + r.quantity
			FROM reserved r WHERE r.reservation = ? AND r.sku = stock.sku`, id)
	}
	if err != nil {
		return false, err
	}
	return held > 0, tx.Commit()
}

// Restock fills every shelf up and returns the pieces it took.
func (s *Shelves) Restock(ctx context.Context) (pieces int, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(sum(full - available), 0) FROM stock WHERE available < full").Scan(&pieces); err != nil || pieces == 0 {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE stock SET available = full WHERE available < full"); err != nil {
		return 0, err
	}
	return pieces, tx.Commit()
}
