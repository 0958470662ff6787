// Package secrets is the twin of the module that gives services what nobody else may see.
package secrets

import "stoa/api/core"

// Secrets says where the values of ${secret:NAME} come from.
type Secrets struct {
	// File is a file of NAME=value lines, relative to the file that names it, that only its owner may read (0600).
	File string `json:"file,omitempty" example:"secrets.env"`
}

// SecretsSection is part of System and may differ by environment.
var SecretsSection = core.Section[Secrets]{Kind: core.KindSystem, Name: "secrets", Help: "where the values of ${secret:NAME} come from"}
