package proxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"stoa/internal/engine/flow"
)

// maxAside bounds what a binding does aside at one time: mirrored requests, and those that
// make a stale answer fresh.
const maxAside = 64

// asideTime bounds one of them.
const asideTime = 30 * time.Second

// asides are what a binding does for no caller. wait ends it.
type asides struct {
	mu     sync.Mutex
	n      int  // guarded by mu
	closed bool // guarded by mu
	wg     sync.WaitGroup
}

// start runs f on a goroutine of its own, if there is room.
func (a *asides) start(f func()) bool {
	a.mu.Lock()
	if a.closed || a.n >= maxAside {
		a.mu.Unlock()
		return false
	}
	a.n++
	a.wg.Add(1)
	a.mu.Unlock()
	go func() {
		defer a.wg.Done()
		f()
		a.mu.Lock()
		a.n--
		a.mu.Unlock()
	}()
	return true
}

// wait lets nothing more start and waits for the rest, whose context has ended.
func (a *asides) wait() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.wg.Wait()
}

// refresh asks for an answer in the place of the stale one that m gave.
func (b *binding) refresh(m *flow.Memo, caller string, up *flow.Upstream, of *http.Request) {
	get := &http.Request{Method: http.MethodGet, URL: of.URL, Host: of.Host, Header: of.Header.Clone()}
	get.Header.Del("If-None-Match")
	get.Header.Del("If-Modified-Since")
	fresh := m.Refresh()
	b.asides.start(func() {
		ctx, cancel := context.WithTimeout(b.ctx, asideTime)
		defer cancel()
		y, out, ok := b.p.aside(caller, up.Name, get.WithContext(ctx))
		if !ok {
			return
		}
		defer y.Finish()
		again := fresh(&y.Exchange)
		defer again.Close()
		y.Until(time.Now().Add(asideTime))
		_, f := y.Admit(ctx)
		if f != nil {
			y.Rec.Reason, y.Rec.Error, y.Rec.Status = f.Reason, f.Error(), f.Status
			return
		}
		y.EditRequest(out.Header)
		resp, v, f := y.ask(again, out, &requestBody{}, 0)
		if f != nil {
			y.Rec.Reason, y.Rec.Error, y.Rec.Status = f.Reason, f.Error(), f.Status
			return
		}
		y.Rec.Status = resp.StatusCode
		if v.Give != nil || v.Refusal != nil {
			return
		}
		defer resp.Body.Close()
		if v.Record {
			y.Rec.Out, _ = io.Copy(io.Discard, &recorded{ReadCloser: resp.Body, m: again, resp: resp})
		}
	})
}
