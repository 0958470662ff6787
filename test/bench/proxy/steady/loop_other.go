//go:build !linux

package main

import (
	"errors"
	"time"
)

// loop stands on timer descriptors and epoll, which only Linux has.
type loop struct {
	took, late []int64
	errors     int
	lastError  string
}

func dial(string, string, int) (*loop, error) { return nil, errors.New("only on Linux") }

func (l *loop) run(int, time.Duration, time.Duration) error { return errors.New("only on Linux") }
