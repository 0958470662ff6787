package certs

import "time"

// Leaves gives how many development leaves are kept.
func (s *Source) Leaves() int {
	d := s.from.(*dev)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.recent.Len()
}

// MaxLeaves bounds them.
const MaxLeaves = maxLeaves

// Backoff gives how long to wait after failures.
func Backoff(fails int, err error) time.Duration { return backoff(fails, err) }
