package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"example.com/shop/internal/sqlitedb"
	"example.com/shop/orders/schema"
)

var (
	errNoOrder = errors.New("no such order")
	errMoved   = errors.New("the order was changed by someone else")
)

// An Entry is an order in the book, with what carrying it needs.
type Entry struct {
	Order   Order
	Key     string // Idempotency-Key
	Request string // digest of the request
	Trace   string // traceparent of the request that placed it
	Tries   int    // of the step that it waits for
	version int64
}

// The Book keeps orders in a database. Safe for concurrent use, also by two
// processes: an entry is saved only over the version that was read.
type Book struct{ db *sql.DB }

// Ready tells whether the database has the schema that this release needs.
func (b *Book) Ready(ctx context.Context) error {
	n, err := sqlitedb.Version(ctx, b.db)
	if err != nil {
		return err
	}
	if n < len(schema.Steps) {
		return fmt.Errorf("the schema is at step %d, this release needs %d: run the job migrate", n, len(schema.Steps))
	}
	return nil
}

type doc struct {
	Order Order  `json:"order"`
	Trace string `json:"trace"`
	Tries int    `json:"tries,omitempty"`
}

// Open writes e down as new. If its key is there already, it returns the entry of that time and false.
func (b *Book) Open(ctx context.Context, e Entry) (Entry, bool, error) {
	e.version = 1
	res, err := b.db.ExecContext(ctx, "INSERT INTO orders VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT (key) DO NOTHING",
		e.Order.ID, e.Key, e.Request, time.Now().Add(workTime).UnixMilli(), e.doc())
	if err != nil {
		return e, false, err
	}
	n, err := res.RowsAffected()
	if err != nil || n == 1 {
		return e, true, err
	}
	e, err = b.ByKey(ctx, e.Key)
	return e, false, err
}

// Save writes e over the version that was read, or returns errMoved. An entry that
// waits is due after a pause; one that is being carried, when its carrier must have died; one at rest, never.
func (b *Book) Save(ctx context.Context, e Entry, waits bool) (Entry, error) {
	var due any
	switch {
	case waits:
		due = time.Now().Add(wait(e.Tries)).UnixMilli()
	case e.Order.Next() != None:
		e.Tries = 0
		due = time.Now().Add(workTime).UnixMilli()
	}
	return b.save(ctx, e, due)
}

// Claim takes an entry that is due for the time that carrying it may need, or returns errMoved.
func (b *Book) Claim(ctx context.Context, e Entry, now time.Time) (Entry, error) {
	return b.save(ctx, e, now.Add(workTime).UnixMilli())
}

func (b *Book) save(ctx context.Context, e Entry, due any) (Entry, error) {
	res, err := b.db.ExecContext(ctx, "UPDATE orders SET version = version + 1, due_ms = ?, doc = ? WHERE id = ? AND version = ?",
		due, e.doc(), e.Order.ID, e.version)
	if err != nil {
		return e, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return e, errors.Join(err, errMoved)
	}
	e.version++
	return e, nil
}

// Order returns the entry of the order called id, or errNoOrder.
func (b *Book) Order(ctx context.Context, id string) (Entry, error) {
	return b.one(ctx, "id = ?", id)
}

// ByKey returns the entry that was opened with an Idempotency-Key, or errNoOrder.
func (b *Book) ByKey(ctx context.Context, key string) (Entry, error) {
	return b.one(ctx, "key = ?", key)
}

// Due returns up to limit entries that someone should go on with, those that wait longest first.
func (b *Book) Due(ctx context.Context, now time.Time, limit int) ([]Entry, error) {
	return b.list(ctx, "due_ms <= ? ORDER BY due_ms LIMIT ?", now.UnixMilli(), limit)
}

func (b *Book) one(ctx context.Context, where string, arg any) (Entry, error) {
	list, err := b.list(ctx, where, arg)
	switch {
	case err != nil:
		return Entry{}, err
	case len(list) == 0:
		return Entry{}, errNoOrder
	}
	return list[0], nil
}

func (b *Book) list(ctx context.Context, where string, args ...any) ([]Entry, error) {
	rows, err := b.db.QueryContext(ctx, "SELECT key, request, version, doc FROM orders WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Entry
	for rows.Next() {
		var e Entry
		var text string
		if err := rows.Scan(&e.Key, &e.Request, &e.version, &text); err != nil {
			return nil, err
		}
		var d doc
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			return nil, fmt.Errorf("order with key %q: %w", e.Key, err)
		}
		e.Order, e.Trace, e.Tries = d.Order, d.Trace, d.Tries
		list = append(list, e)
	}
	return list, rows.Err()
}

func (e Entry) doc() string {
	e.Order.Shipment = nil // shipping's, not ours
	b, err := json.Marshal(doc{e.Order, e.Trace, e.Tries})
	if err != nil {
		panic(err) // strings, numbers and times always encode
	}
	return string(b)
}
