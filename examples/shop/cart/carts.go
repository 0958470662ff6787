package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"example.com/shop/internal/sqlitedb"
)

const (
	maxLines    = 50                  // SKUs in one cart
	maxQuantity = 20                  // pieces of one SKU
	keepFor     = 30 * 24 * time.Hour // since a cart was last changed
)

var schema = []string{`
	CREATE TABLE cart (
		id         TEXT PRIMARY KEY,
		changed_ms INTEGER NOT NULL
	) STRICT;
	CREATE TABLE line (
		cart     TEXT NOT NULL REFERENCES cart (id) ON DELETE CASCADE,
		sku      TEXT NOT NULL,
		quantity INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 20),
		added    INTEGER NOT NULL, -- lines are shown in this order
		PRIMARY KEY (cart, sku)
	) STRICT;`}

var (
	errNoCart = errors.New("no such cart")
	errFull   = errors.New("the cart is full")
)

// A Line is so many pieces of one SKU.
type Line struct {
	SKU      string
	Quantity int
}

// Carts are kept in a database. Safe for concurrent use, also by two processes.
type Carts struct{ db *sql.DB }

// Open prepares the schema.
func Open(ctx context.Context, db *sql.DB) (*Carts, error) {
	_, err := sqlitedb.Migrate(ctx, db, schema)
	return &Carts{db}, err
}

// New makes an empty cart. Its id cannot be guessed: knowing it is the right to it.
func (c *Carts) New(ctx context.Context) (string, error) {
	id := "cart_" + rand.Text()
	_, err := c.db.ExecContext(ctx, "INSERT INTO cart VALUES (?, ?)", id, time.Now().UnixMilli())
	return id, err
}

// Lines returns what is in a cart, in the order in which it was put there, or errNoCart.
func (c *Carts) Lines(ctx context.Context, id string) ([]Line, error) {
	rows, err := c.db.QueryContext(ctx, "SELECT coalesce(sku, ''), coalesce(quantity, 0) FROM cart LEFT JOIN line ON cart = id WHERE id = ? ORDER BY added", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	lines, found := []Line{}, false
	for rows.Next() {
		found = true
		var l Line
		if err := rows.Scan(&l.SKU, &l.Quantity); err != nil {
			return nil, err
		}
		if l.SKU != "" {
			lines = append(lines, l)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if !found {
		return nil, errNoCart
	}
	return lines, nil
}

// Put makes the quantity of sku what is given; 0 takes it out.
func (c *Carts) Put(ctx context.Context, id, sku string, quantity int) error {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := touch(ctx, tx, id); err != nil {
		return err
	}
	if quantity == 0 {
		_, err = tx.ExecContext(ctx, "DELETE FROM line WHERE cart = ? AND sku = ?", id, sku)
	} else {
		_, err = tx.ExecContext(ctx, `INSERT INTO line VALUES (?1, ?2, ?3, (SELECT coalesce(max(added), 0) + 1 FROM line WHERE cart = ?1))
			ON CONFLICT (cart, sku) DO UPDATE SET quantity = excluded.quantity`, id, sku, quantity)
	}
	if err != nil {
		return err
	}
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM line WHERE cart = ?", id).Scan(&n); err != nil {
		return err
	}
	if n > maxLines {
		return errFull
	}
	return tx.Commit()
}

// Empty takes everything out of a cart.
func (c *Carts) Empty(ctx context.Context, id string) error {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := touch(ctx, tx, id); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM line WHERE cart = ?", id); err != nil {
		return err
	}
	return tx.Commit()
}

// Sweep throws away carts that nobody has touched for a month, until ctx ends.
func (c *Carts) Sweep(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if _, err := c.db.ExecContext(ctx, "DELETE FROM cart WHERE changed_ms < ?", now.Add(-keepFor).UnixMilli()); err != nil && ctx.Err() == nil {
				log.Error("old carts not swept", "err", err)
			}
		}
	}
}

func touch(ctx context.Context, tx *sql.Tx, id string) error {
	res, err := tx.ExecContext(ctx, "UPDATE cart SET changed_ms = ? WHERE id = ?", time.Now().UnixMilli(), id)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, errNoCart)
	}
	return nil
}
