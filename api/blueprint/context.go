package blueprint

import "stoa/api/core"

// The sections of a Context, one bounded context of the system.
var (
	Owner = core.Section[string]{Kind: core.KindContext, Name: "owner", Help: "The team that answers for the context"}

	Glossary = core.Section[map[string]string]{Kind: core.KindContext, Name: "glossary", Help: "The words of the context and what they mean there"}

	Uses = core.Section[[]Relation]{Kind: core.KindContext, Name: "uses", Help: "The contexts it depends on, and how: its edges on the context map"}
)

// A Relation is an edge of the context map, seen from the context that depends on the other.
type Relation struct {
	// Context is the name of the context that is depended on.
	Context string `json:"context" required:"true" example:"warehouse"`

	// Relation is how the two stand to each other, in the words of domain-driven design.
	Relation string `json:"relation" required:"true" enum:"customer-supplier,conformist,open-host,anticorruption,partnership,shared-kernel" example:"customer-supplier"`
}
