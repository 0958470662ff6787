package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"time"

	"example.com/shop/internal/sqlitedb"
)

// A Charge is money taken from a card, or the attempt.
type Charge struct {
	ID        string    `json:"id"`
	OrderID   string    `json:"orderId"`
	Amount    int64     `json:"amount"` // cents
	Currency  string    `json:"currency"`
	Status    string    `json:"status"`           // succeeded, declined or refunded
	Reason    string    `json:"reason,omitempty"` // why it was declined
	Last4     string    `json:"last4"`
	CreatedAt time.Time `json:"createdAt"`

	key, request string // the Idempotency-Key, and a digest of what was asked with it
}

var schema = []string{`
	CREATE TABLE charge (
		id         TEXT PRIMARY KEY,
		key        TEXT NOT NULL UNIQUE,
		request    TEXT NOT NULL,
		order_id   TEXT NOT NULL,
		amount     INTEGER NOT NULL CHECK (amount > 0),
		currency   TEXT NOT NULL,
		status     TEXT NOT NULL CHECK (status IN ('succeeded', 'declined', 'refunded')),
		reason     TEXT NOT NULL,
		last4      TEXT NOT NULL,
		created_ms INTEGER NOT NULL
	) STRICT;
	CREATE INDEX charge_order ON charge (order_id);`}

var (
	errNoCharge = errors.New("no such charge")
	errKeyUsed  = errors.New("this Idempotency-Key was used for another charge")
	errDeclined = errors.New("this charge was declined: there is nothing to give back")
)

// A Ledger keeps charges in a database. Safe for concurrent use, also by two processes.
type Ledger struct{ db *sql.DB }

// Open prepares the schema.
func Open(ctx context.Context, db *sql.DB) (*Ledger, error) {
	_, err := sqlitedb.Migrate(ctx, db, schema)
	return &Ledger{db}, err
}

// Enter writes c down, unless its key was used before: then it returns the charge
// of that time, or errKeyUsed if something else was asked.
func (l *Ledger) Enter(ctx context.Context, c Charge) (Charge, error) {
	c.ID = "ch_" + rand.Text()
	_, err := l.db.ExecContext(ctx, `INSERT INTO charge VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING`,
		c.ID, c.key, c.request, c.OrderID, c.Amount, c.Currency, c.Status, c.Reason, c.Last4, c.CreatedAt.UnixMilli())
	if err != nil {
		return Charge{}, err
	}
	kept, err := l.one(ctx, "key = ?", c.key)
	if err == nil && kept.request != c.request {
		return Charge{}, errKeyUsed
	}
	return kept, err
}

// Charge returns the charge called id, or errNoCharge.
func (l *Ledger) Charge(ctx context.Context, id string) (Charge, error) {
	return l.one(ctx, "id = ?", id)
}

// Of returns the charges of an order, at most a hundred, the oldest first.
func (l *Ledger) Of(ctx context.Context, order string) ([]Charge, error) {
	return l.list(ctx, "order_id = ? ORDER BY created_ms LIMIT 100", order)
}

// Refund gives the money of a charge back. Repeating it changes nothing.
func (l *Ledger) Refund(ctx context.Context, id string) (Charge, error) {
	if _, err := l.db.ExecContext(ctx, "UPDATE charge SET status = 'refunded' WHERE id = ? AND status = 'succeeded'", id); err != nil {
		return Charge{}, err
	}
	c, err := l.Charge(ctx, id)
	if err == nil && c.Status == "declined" {
		return Charge{}, errDeclined
	}
	return c, err
}

func (l *Ledger) one(ctx context.Context, where string, arg any) (Charge, error) {
	list, err := l.list(ctx, where, arg)
	switch {
	case err != nil:
		return Charge{}, err
	case len(list) == 0:
		return Charge{}, errNoCharge
	}
	return list[0], nil
}

func (l *Ledger) list(ctx context.Context, where string, arg any) ([]Charge, error) {
	rows, err := l.db.QueryContext(ctx, `SELECT id, key, request, order_id, amount, currency, status, reason, last4, created_ms FROM charge WHERE `+where, arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []Charge{}
	for rows.Next() {
		var c Charge
		var ms int64
		if err := rows.Scan(&c.ID, &c.key, &c.request, &c.OrderID, &c.Amount, &c.Currency, &c.Status, &c.Reason, &c.Last4, &ms); err != nil {
			return nil, err
		}
		c.CreatedAt = time.UnixMilli(ms).UTC()
		list = append(list, c)
	}
	return list, rows.Err()
}
