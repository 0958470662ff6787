// Command stoa runs a distributed architecture. See stoa help.
package main

import (
	"os"

	"stoa/internal/app/command"
)

func main() { os.Exit(command.Main()) }
