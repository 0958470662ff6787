package store

import (
	"encoding/json"
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
	Created  int           `json:"created,omitempty"` // documents, for the history
	Changed  int           `json:"changed,omitempty"`
	Deleted  int           `json:"deleted,omitempty"`
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
	raw    [][]byte    // items as written, for decode; nil afterwards
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
	return platform.Revision{
		Revision: r.Revision, At: r.At, Who: r.last().Who, Source: r.Source, Message: r.Message,
		Created: r.Created, Changed: r.Changed, Deleted: r.Deleted, Restores: r.Restores,
	}
}

func (r *record) event() Event {
	e := Event{Revision: r.info()}
	for _, it := range r.items {
		e.Changes = append(e.Changes, Changed{Ref: it.Ref, Was: it.Was, Doc: it.Document})
	}
	return e
}

// decode reads the items, once.
func (r *record) decode() error {
	for i, b := range r.raw {
		var it item
		if err := json.Unmarshal(b, &it); err != nil {
			return r.broken("document %d: %w", i+1, err)
		}
		switch {
		case it.Document != nil && it.Document.Ref() != it.Ref:
			return r.broken("document %d is %s under the name %s", i+1, it.Document.Ref(), it.Ref)
		case r.Kind == kindCheckpoint && (it.Document == nil || it.Changed == nil):
			return r.broken("item %d of a checkpoint is no document", i+1)
		}
		r.items = append(r.items, it)
	}
	r.raw = nil
	return nil
}

func (r *record) broken(format string, args ...any) error {
	return brokenAt(r.before+1, format, args...)
}

// brokenAt says that the log does not add up at an entry.
func brokenAt(seq journal.Seq, format string, args ...any) error {
	return &fault.Error{
		Op: "store.read", Subject: fmt.Sprintf("resource log, entry %d", seq), Kind: fault.Internal,
		Err: fmt.Errorf(format, args...), Hint: "Bring back a backup of the data folder: stoa restore.",
	}
}

// count fills in how many documents an apply touches.
func (h *header) count(items []item) {
	for _, it := range items {
		switch {
		case it.Document == nil:
			h.Deleted++
		case it.Was == 0:
			h.Created++
		default:
			h.Changed++
		}
	}
}

// encode gives the items of each entry of the record, without the mark. No entry takes
// more than maxEntry bytes.
func encode(h header, items []item, maxEntry int) ([][][]byte, error) {
	room := maxEntry - headerRoom
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
