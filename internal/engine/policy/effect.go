package policy

import (
	"fmt"
	"slices"

	"stoa/api/contracts"
	"stoa/api/core"
	"stoa/api/workload"
	"stoa/internal/engine/retry"
)

// What is declared and cannot have an effect is refused, so that nobody relies on it.

// safeOnly gives the fields of p that are for safe methods alone.
func safeOnly(p core.Policy) (fields []string) {
	for _, f := range []struct {
		name string
		is   bool
	}{
		{"fallback", p.Fallback != nil && !p.Fallback.Off},
		{"cache", p.Cache != nil && (p.Cache.On == nil || *p.Cache.On)},
		{"coalesce", p.Coalesce != nil && *p.Coalesce > 0},
		{"retry.hedge", p.Retry != nil && p.Retry.Hedge != ""},
	} {
		if f.is {
			fields = append(fields, f.name)
		}
	}
	return fields
}

// SpeaksGRPC says whether what a port of a service speaks is gRPC: HTTP/2 in clear text, and no
// contract says that it is a plain HTTP interface.
func SpeaksGRPC(service core.Document, l workload.Listen) bool {
	c := contracts.ContractSection.Of(service)
	return l.Protocol == workload.H2C && (c.OpenAPI == "" || c.Proto != "")
}

// CheckGRPC tells bad which fields of p mean nothing to calls by gRPC, all of which are POST
// (gRPC over HTTP/2, Requests): none is known to be safe, so no other answer may stand in for one.
func CheckGRPC(p core.Policy, service string, bad func(path, text, hint string)) {
	for _, f := range safeOnly(p) {
		bad(f, fmt.Sprintf("service/%s speaks gRPC (h2c), where every call is a POST, and this is for GET and HEAD alone", service),
			"take it away, and let the program answer in its place; if the port serves plain HTTP, give its service a contract: {openapi: FILE}")
	}
}

// CheckMethods tells bad which fields of p mean nothing where only these methods are served; none
// are all.
func CheckMethods(p core.Policy, methods []string, bad func(path, text, hint string)) {
	if len(methods) == 0 || slices.ContainsFunc(methods, func(m string) bool { return retry.Safe(m) }) {
		return
	}
	for _, f := range safeOnly(p) {
		bad(f, fmt.Sprintf("the path serves %v, and this is for GET and HEAD alone", methods), "take it away, or add GET to methods")
	}
}
