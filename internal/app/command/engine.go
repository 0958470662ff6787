package command

import (
	"fmt"

	"stoa/api/fault"
)

// portableEngine reads --engine: the way out if an engine of ours should fail.
func portableEngine(op, engine string) (bool, error) {
	switch engine {
	case "", "own":
		return false, nil
	case "portable":
		return true, nil
	}
	return false, &fault.Error{Op: op, Subject: "engine", Kind: fault.Invalid, Err: fmt.Errorf("%q is no engine", engine), Hint: "Use --engine own, or --engine portable."}
}
