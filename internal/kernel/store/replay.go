package store

import (
	"encoding/json"
	"fmt"

	"stoa/api/fault"
	"stoa/internal/ground/journal"
)

// framer puts entries together to records. It reads headers, no documents, so that a
// start need not decode what a later checkpoint replaces.
type framer struct {
	tail    journal.Seq // last entry fed
	pending *record     // parts of a record that is not whole yet
	owner   string      // mark of pending's owner
}

// feed takes the next entry and gives the record that it completes, or nil. A record of
// which a later part never came was never acknowledged: it is forgotten when another begins.
func (f *framer) feed(e journal.Entry) (*record, error) {
	if e.Seq != f.tail+1 {
		return nil, brokenAt(e.Seq, "it follows entry %d", f.tail)
	}
	f.tail = e.Seq
	if len(e.Items) < 2 || len(e.Items[0]) != journal.MarkSize {
		return nil, brokenAt(e.Seq, "want a mark and a header, not %d items", len(e.Items))
	}
	owner := string(e.Items[0][:16])
	var h header
	if err := json.Unmarshal(e.Items[1], &h); err != nil {
		return nil, brokenAt(e.Seq, "its header: %w", err)
	}
	if h.Version > recordVersion {
		return nil, &fault.Error{
			Op: "store.read", Subject: fmt.Sprintf("resource log, entry %d", e.Seq), Kind: fault.Invalid,
			Err:  fmt.Errorf("a newer Stoa wrote it: record version %d, this program reads up to %d", h.Version, recordVersion),
			Hint: "Start the newer program again, or bring back a backup from before it: stoa restore.",
		}
	}
	if h.Version < 1 || h.Part < 1 || h.Part > h.Parts || (h.Kind != kindApply && h.Kind != kindCheckpoint) {
		return nil, brokenAt(e.Seq, "its header makes no sense: %.200s", e.Items[1])
	}
	if h.Part == 1 {
		f.pending, f.owner = &record{before: e.Seq - 1}, owner
	}
	p := f.pending
	if p == nil || f.owner != owner || h.Part > 1 && (p.Part != h.Part-1 || p.Kind != h.Kind || p.Revision != h.Revision || p.Parts != h.Parts) {
		return nil, brokenAt(e.Seq, "part %d of revision %d without the part before it", h.Part, h.Revision)
	}
	p.header = h
	p.bytes += journal.Size(e.Items...)
	p.raw = append(p.raw, e.Items[2:]...)
	if h.Part < h.Parts {
		return nil, nil
	}
	f.pending = nil
	return p, nil
}

// chain says whether records follow one another as they must.
type chain struct {
	begun    bool
	revision uint64
}

func (c *chain) next(rec *record) error {
	switch {
	case rec.Kind == kindCheckpoint && c.begun && rec.Revision != c.revision:
		return rec.broken("a checkpoint of revision %d at revision %d", rec.Revision, c.revision)
	case rec.Kind == kindApply && rec.Revision != c.revision+1:
		return rec.broken("revision %d follows revision %d", rec.Revision, c.revision)
	}
	c.begun, c.revision = true, rec.Revision
	return nil
}

// replayer turns entries into states. Its view is its own until publish shares it.
type replayer struct {
	framer
	chain
	view  *View
	since int // bytes of records after the last checkpoint
	recs  int // applies after the last checkpoint
	size  int // bytes of the last checkpoint
}

// feed takes the next entry and gives the record that it completes, decoded and applied
// to the view, or nil.
func (r *replayer) feed(e journal.Entry) (*record, error) {
	rec, err := r.framer.feed(e)
	if err != nil || rec == nil {
		return nil, err
	}
	if err := r.chain.next(rec); err != nil {
		return nil, err
	}
	return rec, r.apply(rec)
}

// apply changes the view as rec says.
func (r *replayer) apply(rec *record) error {
	if err := rec.decode(); err != nil {
		return err
	}
	v := r.view
	v.Revision = rec.Revision
	if rec.Kind == kindCheckpoint {
		clear(v.Docs)
		clear(v.Last)
		for _, it := range rec.items {
			v.Docs[it.Ref], v.Last[it.Ref] = *it.Document, *it.Changed
		}
		r.since, r.recs, r.size = 0, 0, rec.bytes
		return nil
	}
	for _, it := range rec.items {
		if it.Document == nil {
			delete(v.Docs, it.Ref)
			delete(v.Last, it.Ref)
			continue
		}
		v.Docs[it.Ref], v.Last[it.Ref] = *it.Document, rec.last()
	}
	r.since, r.recs = r.since+rec.bytes, r.recs+1
	return nil
}
