// Package contracts is the capability that knows what services promise.
//
// First form: a contract is a file beside the service; it must be there, and each
// release is stored with it.
package contracts

import (
	"path/filepath"
	"strings"

	"stoa/api/contracts"
	"stoa/internal/kernel/host"
)

// Module is the capability.
type Module struct{}

var _ host.Module = Module{}

// New returns the module.
func New() Module { return Module{} }

// Name is the module's name.
func (Module) Name() string { return "contracts" }

// Declare states the section.
func (Module) Declare(c *host.Catalog) {
	host.Owns(c, contracts.ContractSection, check)
}

func check(k *host.Checker, ct contracts.Contract) {
	if ct == (contracts.Contract{}) && k.Doc.Has(contracts.ContractSection.Name) {
		k.Bad("", "names no document", "write {openapi: openapi.yaml} or {proto: service.proto}")
	}
	for _, f := range []struct{ path, file string }{{"openapi", ct.OpenAPI}, {"proto", ct.Proto}} {
		if f.file != "" && (filepath.IsAbs(f.file) || strings.HasPrefix(filepath.Clean(f.file), "..")) {
			k.Bad(f.path, "lies outside the service's folder", "write it relative to the folder of this file, and keep it there")
		}
	}
}
