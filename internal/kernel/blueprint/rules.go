package blueprint

// The rules of reading. A problem found by a capability's check bears the section
// instead ("service.uses"), which explain knows as well.
const (
	RuleSyntax            = "syntax"
	RuleLimit             = "limit"
	RuleUnknownKind       = "unknown-kind"
	RuleUnknownField      = "unknown-field"
	RuleDuplicateField    = "duplicate-field"
	RuleDuplicateDocument = "duplicate-document"
	RuleMissing           = "missing"
	RuleType              = "type"
	RuleValue             = "value"
	RuleName              = "name"
	RuleReference         = "reference"
	RuleSystem            = "one-system"
	RuleInclude           = "include"
	RuleEnvironment       = "environment"
)

// rules tells what each rule asks, and why.
var rules = map[string]string{
	RuleSyntax:            "A file is UTF-8 and YAML 1.2, without anchors, aliases, merge keys, tags and directives: each fact stands where it is read.",
	RuleLimit:             "A file has at most 1 MiB, a blueprint at most 2,000 files; nesting and the number of values are bounded too, so that no file can make reading slow.",
	RuleUnknownKind:       "The kind of a document is one of those that `stoa explain` lists. A kind whose module is not part of this stoa is unknown.",
	RuleUnknownField:      "Only the fields that `stoa explain` lists may be written: a misspelt field would otherwise be ignored in silence.",
	RuleDuplicateField:    "A field is written once in its mapping.",
	RuleDuplicateDocument: "Kind and name of a document are unique in a system.",
	RuleMissing:           "A required field must be written.",
	RuleType:              "A value must have the type of its field. A text that looks like a number or a boolean is quoted.",
	RuleValue:             "A value must be one of those that are valid for its field.",
	RuleName:              "A name is a DNS label: lower-case letters, digits and inner hyphens, begins with a letter, at most 63 bytes. It ends up in host names, environment variables and file names.",
	RuleReference:         "What is referred to must be there.",
	RuleSystem:            "A blueprint has one System, in the stoa.yaml of its folder. A folder below it with a System of its own is another system and is left out.",
	RuleInclude:           "Each entry of System.include is a folder or a glob pattern, relative to the System's file, that finds at least one blueprint file.",
	RuleEnvironment:       "An environment may set gateway and secrets, and per service env, scale, secrets and run.external. What a service uses, promises or may do is the same in all environments.",
}
