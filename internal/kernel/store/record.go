package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/platform"
	"stoa/internal/ground/journal"
)

// The format of a record is drawn in docs/formats/resources.md: change it there first.

// recordVersion is the newest form of a record this program writes and the newest it
// reads. A field that an older program must not overlook makes a new version.
const recordVersion = 1

// What a record is.
const (
	kindApply      = "apply"      // items are what changed
	kindCheckpoint = "checkpoint" // items are all documents
)

// The bounds of a record.
const (
	headerRoom  = 16 << 10                      // bytes kept free in each entry for mark and header
	MaxDocument = journal.MaxEntry - headerRoom // bytes of one document in canonical JSON, with its envelope
	MaxParts    = 32                            // entries of one record: some 28 MB of documents
)

// header is the second item of each entry, after the mark.
type header struct {
	Version  int           `json:"version"`
	Kind     string        `json:"kind"`
	Part     int           `json:"part"` // 1..Parts
	Parts    int           `json:"parts"`
	Revision uint64        `json:"revision"`
	At       core.Time     `json:"at"`
	Who      *platform.Who `json:"who,omitempty"`
	Source   string        `json:"source,omitempty"`
	Message  string        `json:"message,omitempty"`
	Restores uint64        `json:"restores,omitempty"`
}

// item is each further item of an entry: one document.
type item struct {
	Ref      core.Ref       `json:"ref"`
	Was      uint64         `json:"was,omitempty"`     // in an apply: revision of its last change before; 0 means it was not there
	Changed  *platform.Last `json:"changed,omitempty"` // in a checkpoint: its last change
	Document *core.Document `json:"document"`          // null means deleted
}

// record is one apply or checkpoint, whole.
type record struct {
	header
	before journal.Seq // entry before its first
	bytes  int         // that its entries take
	items  []item
}

func (r *record) last() platform.Last {
	l := platform.Last{Revision: r.Revision, At: r.At}
	if r.Who != nil {
		l.Who = *r.Who
	}
	return l
}

func (r *record) info() platform.Revision {
	i := platform.Revision{
		Revision: r.Revision, At: r.At, Who: r.last().Who, Source: r.Source, Message: r.Message, Restores: r.Restores,
	}
	for _, it := range r.items {
		switch {
		case it.Document == nil:
			i.Deleted++
		case it.Was == 0:
			i.Created++
		default:
			i.Changed++
		}
	}
	return i
}

func (r *record) event() Event {
	e := Event{Revision: r.info()}
	for _, it := range r.items {
		e.Changes = append(e.Changes, Changed{Ref: it.Ref, Was: it.Was, Doc: it.Document})
	}
	return e
}

// encode gives the items of each entry of the record, without the mark.
func encode(h header, items []item) ([][][]byte, error) {
	const room = journal.MaxEntry - headerRoom
	h.Version = recordVersion
	var parts [][][]byte
	var part [][]byte
	size := 0
	for _, it := range items {
		b, err := json.Marshal(it)
		if err != nil {
			return nil, fault.New(fault.Invalid, it.Ref.String(), "it is no JSON: %w", err)
		}
		n := journal.Size(b)
		if n > room {
			return nil, fault.New(fault.Invalid, it.Ref.String(), "it takes %d bytes, at most %d can be kept", n, room).
				WithHint("Move what is large out of the document, into a file that is applied as an artefact.")
		}
		if size+n > room {
			parts, part, size = append(parts, part), nil, 0
		}
		part, size = append(part, b), size+n
	}
	parts = append(parts, part)
	if len(parts) > MaxParts {
		return nil, fault.New(fault.Invalid, "apply", "%d documents need %d journal entries, at most %d make one revision", len(items), len(parts), MaxParts).
			WithHint("Apply the blueprint in several sources, each with a folder of its own.")
	}
	h.Parts = len(parts)
	for i := range parts {
		h.Part = i + 1
		b, err := json.Marshal(h)
		if err != nil {
			return nil, err
		}
		if n := journal.Size(b) + journal.MarkSize + journal.ItemOverhead; n > headerRoom {
			return nil, fault.New(fault.Invalid, "apply", "its source, message and caller take %d bytes, at most %d can be kept", n, headerRoom)
		}
		parts[i] = slices.Insert(parts[i], 0, b)
	}
	return parts, nil
}

// replayer turns entries into states. Its view is its own until publish shares it.
type replayer struct {
	view    *View
	tail    journal.Seq // last entry fed
	begun   bool        // whether a record was replayed
	pending *record     // parts of a record that is not whole yet
	owner   string      // mark of pending's owner
	since   int         // bytes of records after the last checkpoint
	size    int         // bytes of the last checkpoint
	recs    int         // applies after the last checkpoint
}

// feed takes the next entry and gives the record it completes, already applied to the
// view, or nil. A record of which a later part never came was never acknowledged: it is
// forgotten when another begins.
func (r *replayer) feed(e journal.Entry) (*record, error) {
	broken := func(format string, args ...any) error {
		return &fault.Error{
			Op: "store.open", Subject: fmt.Sprintf("resource log, entry %d", e.Seq), Kind: fault.Internal,
			Err: fmt.Errorf(format, args...), Hint: "Bring back a backup of the data folder: stoa restore.",
		}
	}
	if e.Seq != r.tail+1 {
		return nil, broken("it follows entry %d", r.tail)
	}
	r.tail = e.Seq
	if len(e.Items) < 2 || len(e.Items[0]) != journal.MarkSize {
		return nil, broken("want a mark and a header, not %d items", len(e.Items))
	}
	owner := string(e.Items[0][:16])
	var h header
	if err := json.Unmarshal(e.Items[1], &h); err != nil {
		return nil, broken("its header: %w", err)
	}
	if h.Version > recordVersion {
		return nil, &fault.Error{
			Op: "store.open", Subject: fmt.Sprintf("resource log, entry %d", e.Seq), Kind: fault.Invalid,
			Err:  fmt.Errorf("a newer Stoa wrote it: record version %d, this program reads up to %d", h.Version, recordVersion),
			Hint: "Start the newer program again, or bring back a backup from before it: stoa restore.",
		}
	}
	if h.Version < 1 || h.Part < 1 || h.Part > h.Parts || (h.Kind != kindApply && h.Kind != kindCheckpoint) {
		return nil, broken("its header makes no sense: %s", e.Items[1])
	}
	if h.Part == 1 {
		r.pending, r.owner = &record{before: e.Seq - 1}, owner
	}
	p := r.pending
	if p == nil || r.owner != owner || h.Part > 1 && (p.Part != h.Part-1 || p.Kind != h.Kind || p.Revision != h.Revision || p.Parts != h.Parts) {
		return nil, broken("part %d of revision %d without the part before it", h.Part, h.Revision)
	}
	p.header = h
	p.bytes += journal.Size(e.Items...)
	for i, b := range e.Items[2:] {
		var it item
		if err := json.Unmarshal(b, &it); err != nil {
			return nil, broken("item %d: %w", i+2, err)
		}
		if it.Document != nil && it.Document.Ref() != it.Ref {
			return nil, broken("item %d is for %s and holds %s", i+2, it.Ref, it.Document.Ref())
		}
		p.items = append(p.items, it)
	}
	if h.Part < h.Parts {
		return nil, nil
	}
	r.pending = nil
	if err := r.apply(p); err != nil {
		return nil, broken("%w", err)
	}
	return p, nil
}

// apply changes the view as rec says.
func (r *replayer) apply(rec *record) error {
	v := r.view
	switch {
	case rec.Kind == kindCheckpoint && r.begun && rec.Revision != v.Revision:
		return fmt.Errorf("a checkpoint of revision %d at revision %d", rec.Revision, v.Revision)
	case rec.Kind == kindApply && rec.Revision != v.Revision+1:
		return fmt.Errorf("revision %d follows revision %d", rec.Revision, v.Revision)
	}
	r.begun = true
	v.Revision = rec.Revision
	if rec.Kind == kindCheckpoint {
		clear(v.Docs)
		clear(v.Last)
		for _, it := range rec.items {
			if it.Document == nil || it.Changed == nil {
				return errors.New("a checkpoint holds an item without document")
			}
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

// checkpointItems gives all documents of v, ordered.
func checkpointItems(v *View) []item {
	refs := slices.SortedFunc(maps.Keys(v.Docs), core.Ref.Compare)
	items := make([]item, len(refs))
	for i, ref := range refs {
		d, l := v.Docs[ref], v.Last[ref]
		items[i] = item{Ref: ref, Changed: &l, Document: &d}
	}
	return items
}
