// Package contracts is the twin of the module that knows what services promise.
package contracts

import "stoa/api/core"

// Contract names the documents of a service's interface, relative to the file that names them.
type Contract struct {
	// OpenAPI is an OpenAPI 3 document of its HTTP interface.
	OpenAPI string `json:"openapi,omitempty" example:"openapi.yaml"`
	// Proto is the protocol buffers file of its gRPC interface.
	Proto string `json:"proto,omitempty" example:"inventory.proto"`
}

// ContractSection is what a service promises.
var ContractSection = core.Section[Contract]{Kind: core.KindService, Name: "contract", Help: "the documents of its interface; they are stored with each release"}
