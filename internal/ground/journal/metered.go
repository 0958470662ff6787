package journal

import (
	"context"
	"iter"
	"time"
)

// Call is what Metered tells about one call of the port.
type Call struct {
	Op    string // append, read, cut, get, put, delete, scan
	Name  string // of the log or table
	Items int    // items appended; entries or keys given
	Bytes int    // of what was written or given
	Took  time.Duration
	Err   error // as the caller got it
}

// Metered returns s with every call told to observe when it has ended. A Wait and a
// Watch have no end worth measuring and are not told. Observe is called concurrently,
// by the goroutine that made the call; it must be quick.
func Metered(s Store, observe func(Call)) Store { return meteredStore{s, observe} }

type meteredStore struct {
	Store
	observe func(Call)
}

func (m meteredStore) Log(ctx context.Context, name string) (Log, error) {
	l, err := m.Store.Log(ctx, name)
	if err != nil {
		return nil, err
	}
	return meteredLog{l, name, m.observe}, nil
}

func (m meteredStore) Table(ctx context.Context, name string) (Table, error) {
	t, err := m.Store.Table(ctx, name)
	if err != nil {
		return nil, err
	}
	return meteredTable{t, name, m.observe}, nil
}

type meteredLog struct {
	Log
	name    string
	observe func(Call)
}

func (m meteredLog) Append(ctx context.Context, after Seq, items ...[]byte) (Seq, error) {
	began := time.Now()
	seq, err := m.Log.Append(ctx, after, items...)
	m.observe(Call{"append", m.name, len(items), Size(items...), time.Since(began), err})
	return seq, err
}

func (m meteredLog) Cut(ctx context.Context, before Seq) error {
	began := time.Now()
	err := m.Log.Cut(ctx, before)
	m.observe(Call{"cut", m.name, 0, 0, time.Since(began), err})
	return err
}

// Read counts the reader's own time too: a slow reader is what one wants to see.
func (m meteredLog) Read(ctx context.Context, after Seq) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		c, began := Call{Op: "read", Name: m.name}, time.Now()
		defer func() { c.Took = time.Since(began); m.observe(c) }()
		for e, err := range m.Log.Read(ctx, after) {
			if c.Err = err; err == nil {
				c.Items, c.Bytes = c.Items+1, c.Bytes+Size(e.Items...)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

type meteredTable struct {
	Table
	name    string
	observe func(Call)
}

func (m meteredTable) Get(ctx context.Context, key string) ([]byte, Rev, error) {
	began := time.Now()
	v, rev, err := m.Table.Get(ctx, key)
	m.observe(Call{"get", m.name, 1, len(v), time.Since(began), err})
	return v, rev, err
}

func (m meteredTable) Put(ctx context.Context, key string, v []byte, at Rev) (Rev, error) {
	began := time.Now()
	rev, err := m.Table.Put(ctx, key, v, at)
	m.observe(Call{"put", m.name, 1, len(v), time.Since(began), err})
	return rev, err
}

func (m meteredTable) Delete(ctx context.Context, key string, at Rev) error {
	began := time.Now()
	err := m.Table.Delete(ctx, key, at)
	m.observe(Call{"delete", m.name, 1, 0, time.Since(began), err})
	return err
}

func (m meteredTable) Scan(ctx context.Context, prefix string) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		c, began := Call{Op: "scan", Name: m.name}, time.Now()
		defer func() { c.Took = time.Since(began); m.observe(c) }()
		for kv, err := range m.Table.Scan(ctx, prefix) {
			if c.Err = err; err == nil {
				c.Items, c.Bytes = c.Items+1, c.Bytes+len(kv.Value)
			}
			if !yield(kv, err) {
				return
			}
		}
	}
}
