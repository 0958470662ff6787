package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// maxIdleRepeats is how often idle memory is measured: it varies little.
const maxIdleRepeats = 3

// idle is what held connections cost in memory of the proxy. What the kernel keeps for
// them is the same for all and not in it.
type idle struct {
	Repeat  int    `json:"repeat"`
	Peer    string `json:"peer"`
	Conns   int    `json:"conns"`
	Before  memory `json:"before"` // of a fresh proxy that has answered a few requests
	Held    memory `json:"held"`
	Private int64  `json:"private"` // bytes per connection
	RSS     int64  `json:"rss"`     // bytes per connection
	Fault   string `json:"fault,omitempty"`
}

// A million is a proxy's memory over a million requests, or as many as were asked for.
type million struct {
	Peer  string  `json:"peer"`
	Steps []step  `json:"steps"`
	Fault string  `json:"fault,omitempty"`
	Took  float64 `json:"seconds"`
}

type step struct {
	Requests int64  `json:"requests"`
	Memory   memory `json:"memory"`
}

// settle is how long memory is given to come to rest.
const settle = time.Second

// holdIdle starts the peer anew, opens connections, asks once on each, and leaves them.
func (b *bench) holdIdle(p *peer, repeat int) (i idle) {
	i = idle{Repeat: repeat, Peer: p.name, Conns: b.o.Idle}
	fail := func(err error) idle {
		i.Fault = err.Error()
		return i
	}
	p.p.stop()
	if err := p.start(b.o.ProxyCPU); err != nil {
		return fail(err)
	}
	warmers, err := open(p.at.Plain, 64)
	closeAll(warmers)
	if err != nil {
		return fail(err)
	}
	time.Sleep(settle)
	i.Before = resident(p.p.pids()...)
	held, err := open(p.at.Plain, b.o.Idle)
	defer closeAll(held)
	if err != nil {
		return fail(err)
	}
	time.Sleep(2 * settle)
	i.Held = resident(p.p.pids()...)
	i.Private = (i.Held.Private - i.Before.Private) / int64(b.o.Idle)
	i.RSS = (i.Held.RSS - i.Before.RSS) / int64(b.o.Idle)
	for n, c := range held { // a proxy that has closed them holds nothing
		if err := c.ask(); err != nil {
			return fail(fmt.Errorf("connection %d was not held: %w", n, err))
		}
	}
	fmt.Fprintf(os.Stderr, "%d idle        %-14s %d connections: %d bytes private, %d resident each\n", repeat+1, p.name, i.Conns, i.Private, i.RSS)
	return i
}

// A client is one kept connection.
type client struct {
	c net.Conn
	r *bufio.Reader
}

func open(port, n int) (clients []client, err error) {
	for range n {
		c, err := net.DialTimeout("tcp", local(port), 5*time.Second)
		if err != nil {
			return clients, err
		}
		k := client{c, bufio.NewReaderSize(c, 512)}
		clients = append(clients, k)
		if err := k.ask(); err != nil {
			return clients, err
		}
	}
	return clients, nil
}

func closeAll(clients []client) {
	for _, k := range clients {
		k.c.Close()
	}
}

// ask sends a request and takes the answer.
func (k client) ask() error {
	_ = k.c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(k.c, "GET /100 HTTP/1.1\r\nHost: bench\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(k.r, nil)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != 200 || n != 100) {
		err = fmt.Errorf("status %d, %d bytes", resp.StatusCode, n)
	}
	return err
}

// longestMillion bounds the run, and looks is how often it looks at memory.
const (
	longestMillion = 5 * time.Minute
	looks          = 10
)

// watchMillion sends so many requests through a fresh proxy.
func (b *bench) watchMillion(p *peer) (m million) {
	m.Peer = p.name
	fail := func(err error) million {
		m.Fault = err.Error()
		return m
	}
	p.p.stop()
	if err := p.start(b.o.ProxyCPU); err != nil {
		return fail(err)
	}
	first, err := b.back.count(saturation)
	if err != nil {
		return fail(err)
	}
	l := b.loadFor(saturation, p.at.Plain, longestMillion)
	began := time.Now()
	if err := l.cmd.Start(); err != nil {
		return fail(err)
	}
	defer func() {
		_ = l.cmd.Process.Kill()
		_ = l.cmd.Wait()
	}()
	for next := int64(0); next <= b.o.Million; {
		n, err := b.back.count(saturation)
		if err != nil {
			return fail(err)
		}
		if n-first >= next {
			m.Steps = append(m.Steps, step{n - first, resident(p.p.pids()...)})
			next += max(1, b.o.Million/looks)
		}
		if time.Since(began) > longestMillion {
			return fail(errors.New("a million took too long"))
		}
		time.Sleep(20 * time.Millisecond)
	}
	m.Took = time.Since(began).Seconds()
	last := m.Steps[len(m.Steps)-1]
	fmt.Fprintf(os.Stderr, "million       %-14s %d requests in %.0f s: %d KB resident after a tenth, %d KB at the end\n", p.name, last.Requests, m.Took, m.Steps[1].Memory.RSS>>10, last.Memory.RSS>>10)
	return m
}
