// Package stores is the twin of the module that gives services their databases.
package stores

import (
	"stoa/api/core"
	"stoa/api/op"
)

// SQLite is the engine whose store is a file of the service's own.
const SQLite = "sqlite"

// Store is one database, owned by one service.
type Store struct {
	// Name tells the stores of a system apart; two services naming one store is refused.
	Name string `json:"name" required:"true" example:"db"`
	// Engine is what it is kept in.
	Engine string `json:"engine" required:"true" enum:"sqlite" example:"sqlite"`
	// Env is the variable that holds its address; undeclared: DATABASE_URL for the
	// first store, NAME_URL for others.
	Env string `json:"env,omitempty" example:"DATABASE_URL"`
}

// StoresSection is the list of a service's databases.
var StoresSection = core.Section[[]Store]{Kind: core.KindService, Name: "stores", Help: "its databases; their data is kept over restarts and rebuilds"}

// ResetIn says whose data is to go.
type ResetIn struct {
	Service string `json:"service,omitempty" arg:"SERVICE,optional" help:"only this service (default: all)"`
}

// ResetOut says what went.
type ResetOut struct {
	Removed []string `json:"removed"` // "orders/db"
}

// ResetOp throws data away.
var ResetOp = op.Op[ResetIn, ResetOut]{Name: "reset", Help: "throw away the data of a service, or of all", Example: "stoa reset orders --yes", Effect: op.Destroy}
