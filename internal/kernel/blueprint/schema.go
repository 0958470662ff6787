package blueprint

import (
	"encoding/json"
	"reflect"
	"strings"

	"stoa/api/core"
	"stoa/internal/kernel/fielddocs"
	"stoa/internal/kernel/host"
	"stoa/internal/kernel/shape"
)

// object is a part of a JSON Schema.
type object = map[string]any

// namePattern is what core.CheckName accepts, up to the length.
const namePattern = `^[a-z]([a-z0-9-]*[a-z0-9])?$`

// envelopeHelp tells what the fields of the envelope mean.
var envelopeHelp = map[string]string{
	fieldKind:         "What the document declares.",
	fieldName:         "Its name, unique in the system for its kind: lower-case letters, digits and inner hyphens, at most 63 bytes.",
	fieldContext:      "The bounded context it belongs to. If the system has contexts, it must be one of them.",
	fieldInclude:      "Folders, or glob patterns of folders and .yaml files, whose blueprints belong to the system as well. They start at the file they are written in and may lead outside of its folder.",
	fieldContexts:     "The bounded contexts of the system, each as it would be written in a document of kind Context.",
	fieldEnvironments: "What differs between environments, by their names: gateway, secrets, and by service env, scale, secrets and run.external. --env chooses one; dev always exists. env is merged by key, other settings replace field by field.",
}

// envelopeExample tells how the envelope's fields of a System are written.
var envelopeExample = map[string]string{
	fieldName: "shop", fieldContext: "sales", fieldInclude: "[../payments, services/*]",
	fieldContexts:     "[{name: sales, owner: team-sales}]",
	fieldEnvironments: "{prod: {services: {orders: {scale: {min: 3}}}}}",
}

// Schema gives a JSON Schema (2020-12) of one document of a stoa.yaml, for editors. It
// is as strict as Load where a schema can be: fields, types and valid values, not
// references.
func Schema(cat *host.Catalog) []byte {
	s := &schemas{cat: cat, shapes: shapesOf(cat), types: &shape.Schemas{Prefix: "#/$defs/", Defs: object{}, Doc: fielddocs.Of, Written: true}}
	var kinds []string
	var all []any
	for _, k := range cat.Kinds {
		kinds = append(kinds, k.Name)
		s.types.Defs[k.Name] = s.document(k)
		all = append(all, object{
			"if":   object{"properties": object{fieldKind: object{"const": k.Name}}, "required": []string{fieldKind}},
			"then": object{"$ref": "#/$defs/" + k.Name},
		})
	}
	b, err := json.MarshalIndent(object{
		"$schema": shape.Dialect, "title": "stoa.yaml", "description": "One document of a Stoa blueprint",
		"type": "object", "required": []string{fieldKind, fieldName},
		"properties": object{fieldKind: object{"enum": kinds, "description": envelopeHelp[fieldKind]}},
		"allOf":      all, "$defs": s.types.Defs,
	}, "", "  ")
	if err != nil {
		panic("blueprint: a default cannot be written as JSON: " + err.Error())
	}
	return append(b, '\n')
}

type schemas struct {
	cat    *host.Catalog
	shapes shapes
	types  *shape.Schemas
}

// document gives the schema of a document of kind k.
func (s *schemas) document(k host.Kind) object {
	props := object{fieldKind: object{"const": k.Name}, fieldName: name(fieldName)}
	required := []string{fieldKind, fieldName}
	for _, f := range envelope(k.Name) {
		switch f {
		case fieldContext:
			props[f] = name(f)
		case fieldInclude:
			props[f] = object{"type": "array", "items": object{"type": "string"}, "description": envelopeHelp[f]}
		case fieldContexts:
			props[f] = object{"type": "array", "items": s.inlineContext(), "description": envelopeHelp[f]}
		case fieldEnvironments:
			props[f] = object{"type": "object", "propertyNames": object{"pattern": namePattern}, "additionalProperties": s.environment(), "description": envelopeHelp[f]}
		}
	}
	required = append(required, s.sections(k.Name, props)...)
	return object{"type": "object", "description": k.Help, "properties": props, "required": required, "additionalProperties": false}
}

// sections adds the sections of a kind to props and gives the names of those required.
func (s *schemas) sections(kind string, props object) (required []string) {
	for _, sec := range s.cat.SectionsOf(kind) {
		if sec.Name != "" {
			props[sec.Name] = s.section(sec)
			continue
		}
		for _, f := range s.shapes.of(sec).Fields {
			props[f.Name] = s.types.Field(f)
			if f.Required {
				required = append(required, f.Name)
			}
		}
	}
	return required
}

// section gives the schema of a section, with its help and default.
func (s *schemas) section(sec host.Section) object {
	m := s.types.Of(sec.Type)
	m["description"] = strings.TrimSuffix(sec.Help, ".") + "."
	if v := reflect.ValueOf(sec.Default); v.IsValid() && !v.IsZero() {
		m["default"] = sec.Default
	}
	return m
}

// inlineContext gives the schema of a Context inside a System.
func (s *schemas) inlineContext() object {
	props := object{fieldName: name(fieldName)}
	s.sections(core.KindContext, props)
	return object{"type": "object", "properties": props, "required": []string{fieldName}, "additionalProperties": false}
}

// environment gives the schema of one environment.
func (s *schemas) environment() object {
	service := s.settings(core.KindService, serviceSettings)
	if _, ok := service["run"]; ok {
		delete(service, "run")
		sec, _ := s.find(core.KindService, "run")
		if f, ok := s.shapes.of(sec).Field(externalRun); ok {
			service["run"] = object{"type": "object", "properties": object{externalRun: s.types.Field(f)}, "additionalProperties": false}
		}
	}
	system := s.settings(core.KindSystem, systemSettings)
	system[fieldServices] = object{
		"type":                 "object",
		"additionalProperties": object{"type": "object", "properties": service, "additionalProperties": false},
	}
	return object{"type": "object", "properties": system, "additionalProperties": false}
}

// settings gives the schemas of those sections of kind that are among names, with no field required.
func (s *schemas) settings(kind string, names []string) object {
	props := object{}
	for _, n := range names {
		sec, ok := s.find(kind, n)
		if !ok {
			continue
		}
		sh := s.shapes.of(sec)
		if sh.Kind != shape.Object {
			props[n] = s.types.Of(sec.Type)
			continue
		}
		fields := object{}
		for _, f := range sh.Fields {
			fields[f.Name] = s.types.Field(f)
		}
		props[n] = object{"type": "object", "properties": fields, "additionalProperties": false}
	}
	return props
}

func (s *schemas) find(kind, name string) (host.Section, bool) {
	for _, sec := range s.cat.SectionsOf(kind) {
		if sec.Name == name {
			return sec, true
		}
	}
	return host.Section{}, false
}

// name gives the schema of a name.
func name(field string) object {
	return object{"type": "string", "pattern": namePattern, "maxLength": core.MaxName, "description": envelopeHelp[field]}
}
