//go:build !race

package blueprint_test

const raceEnabled = false
