// Package sqlitedb opens the SQLite file that a service owns.
package sqlitedb

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"

	_ "modernc.org/sqlite" // the driver, in Go: the shop builds without a C compiler
)

// OpenEnv opens the database that DATABASE_URL names.
func OpenEnv() (*sql.DB, error) {
	name := os.Getenv("DATABASE_URL")
	if name == "" {
		return nil, fmt.Errorf("DATABASE_URL is not set: want sqlite:///abs/path/db.sqlite or a path")
	}
	return Open(name)
}

// Open opens a database named by sqlite:///abs/path or by a path, and creates the file if there is none.
//
// Writers wait for each other up to 5 s, also between two instances of a service
// during a replacement. What was committed survives a crash of the process or of
// the machine (WAL, synchronous=FULL).
func Open(name string) (*sql.DB, error) {
	path := name
	if rest, ok := strings.CutPrefix(name, "sqlite://"); ok {
		var err error
		if path, err = url.PathUnescape(rest); err != nil {
			return nil, fmt.Errorf("database %q: %w", name, err)
		}
	} else if strings.Contains(name, "://") {
		return nil, fmt.Errorf("database %q: want sqlite:///abs/path/db.sqlite or a path", name)
	}
	// _txlock=immediate: a transaction that will write takes the lock at once, and waits for it, instead of failing in the middle.
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_txlock=immediate" +
		"&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("database %q: %w", name, err)
	}
	db.SetMaxOpenConns(4) // one writes, some read; more only wait for the writer
	if err := db.Ping(); err != nil {
		db.Close()
		return nil, fmt.Errorf("database %q: %w", name, err)
	}
	return db, nil
}

// Migrate brings the schema of db to the last of steps, each one or more SQL
// statements, and returns how many it applied. The number of steps done is kept in
// the file (PRAGMA user_version). A step is never changed once released: add one.
func Migrate(ctx context.Context, db *sql.DB, steps []string) (int, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	var done int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&done); err != nil {
		return 0, err
	}
	if done > len(steps) {
		return 0, fmt.Errorf("schema version %d is newer than this program, which knows %d", done, len(steps))
	}
	for i := done; i < len(steps); i++ {
		if _, err := tx.ExecContext(ctx, steps[i]); err != nil {
			return 0, fmt.Errorf("schema step %d: %w", i+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(steps))); err != nil {
		return 0, err
	}
	return len(steps) - done, tx.Commit()
}

// Version returns how many schema steps db has had.
func Version(ctx context.Context, db *sql.DB) (n int, err error) {
	err = db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&n)
	return n, err
}
