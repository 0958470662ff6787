//go:build !linux

package script

import "errors"

// terminal is told on Linux: see there.
func terminal() { fail(errors.New("the program terminal knows the terminals of Linux alone")) }
