// Package chrome drives a headless Chromium for tests: pages of a size and a theme,
// waits on conditions, pictures.
//
// A page fails its test for what a person would not see: an error on the console, an
// exception, a request to any origin but those allowed. Chromium is looked for as
// $CHROME, chromium, chromium-browser, google-chrome; a machine without one fails the
// test and is told what to install.
package chrome

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Patience is how long a wait lasts before it fails: generous, for machines that are busy.
const Patience = 90 * time.Second

// The one browser of a test binary, started by the first Open and ended by Main.
var started struct {
	sync.Mutex
	ctx   context.Context
	close []func()
}

// Main runs the tests and ends the browser: call it from TestMain.
func Main(m *testing.M) int {
	defer func() {
		started.Lock()
		defer started.Unlock()
		for _, f := range started.close {
			f()
		}
	}()
	return m.Run()
}

// browser gives the context of the running browser.
func browser(t *testing.T) context.Context {
	t.Helper()
	started.Lock()
	defer started.Unlock()
	if started.ctx != nil {
		return started.ctx
	}
	dir, err := os.MkdirTemp("", "stoa-chrome")
	if err != nil {
		t.Fatal(err)
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), flags(t, dir)...)
	ctx, cancel := chromedp.NewContext(alloc)
	started.close = []func(){cancel, stop, func() { os.RemoveAll(dir) }}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("the browser does not start: %v", err)
	}
	started.ctx = ctx
	return ctx
}

// Options say what a page looks like.
type Options struct {
	Width, Height int      // 0: 1440 by 900
	Dark          bool     // prefers-color-scheme
	Motion        bool     // else prefers-reduced-motion
	Origins       []string // allowed beside that of the first page opened
	Expect        []string // parts of console errors that the test provokes
}

// A Page is one tab. Its methods fail the test.
type Page struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	origins []string // guarded by mu
	wrong   []string // guarded by mu
	expect  []string
}

// Open opens a page with cookies and storage of its own; it is gone when the test ends.
func Open(t *testing.T, o Options) *Page {
	t.Helper()
	if o.Width == 0 {
		o.Width, o.Height = 1440, 900
	}
	ctx, cancel := chromedp.NewContext(browser(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	p := &Page{t: t, ctx: ctx, expect: o.Expect, origins: slices.Clone(o.Origins)}
	scheme, motion := "light", "reduce"
	if o.Dark {
		scheme = "dark"
	}
	if o.Motion {
		motion = "no-preference"
	}
	p.must("open a browser", chromedp.Listen(ctx, p.listen))
	run(p, network.Enable, network.EnableParams{})
	run(p, runtime.Enable, cdp.Empty{})
	run(p, log.Enable, cdp.Empty{})
	run(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion},
	}})
	p.Do("set the size", chromedp.EmulateViewport(int64(o.Width), int64(o.Height)))
	t.Cleanup(func() {
		for _, w := range p.Wrong() {
			t.Errorf("the page did what it must not: %s", w)
		}
		if t.Failed() {
			p.keep()
		}
	})
	return p
}

// run carries out one command of the browser's protocol.
func run[P, R any](p *Page, c cdp.Command[P, R], params P) R {
	p.t.Helper()
	r, err := chromedp.Call(p.ctx, c, params)
	p.must(c.Method, err)
	return r
}

func (p *Page) must(what string, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

func flags(t *testing.T, dir string) []chromedp.ExecAllocatorOption {
	t.Helper()
	return []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(find(t)), chromedp.UserDataDir(dir), chromedp.WSURLReadTimeout(Patience),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-default-apps", true),
		chromedp.Flag("disable-extensions", true), chromedp.Flag("hide-scrollbars", true),
	}
}

func find(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROME"), "chromium", "chromium-browser", "google-chrome"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no Chromium on PATH: apt-get install chromium, or name one in $CHROME")
	return ""
}

func (p *Page) listen(ev any) {
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		p.blame("exception: " + exception(ev.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError {
			var words []string
			for _, a := range ev.Args {
				words = append(words, string(a.Value)+a.Description)
			}
			p.blame("console: " + strings.Join(words, " "))
		}
	case *log.EventEntryAdded:
		if ev.Entry.Level == log.EntryLevelError {
			p.blame("console: " + ev.Entry.Text + " " + ev.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(ev.Request.URL)
		if err != nil || u.Scheme == "data" || u.Scheme == "about" || u.Scheme == "blob" {
			return
		}
		p.mu.Lock()
		known := slices.Contains(p.origins, u.Scheme+"://"+u.Host)
		p.mu.Unlock()
		if !known {
			p.blame("request to another origin: " + ev.Request.URL)
		}
	}
}

func exception(d *runtime.ExceptionDetails) string {
	text := d.Text
	if d.Exception != nil {
		text += " " + d.Exception.Description
	}
	return fmt.Sprintf("%s (%s:%d)", text, d.URL, d.LineNumber+1)
}

func (p *Page) blame(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.expect {
		if strings.Contains(text, e) {
			return
		}
	}
	p.wrong = append(p.wrong, text)
}

// Wrong gives what the page has done that it must not.
func (p *Page) Wrong() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.wrong)
}

// Go opens an address.
func (p *Page) Go(address string) {
	p.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.origins = append(p.origins, u.Scheme+"://"+u.Host)
	p.mu.Unlock()
	p.Do("open "+address, chromedp.Navigate(address))
}

// Do carries out steps; what says which, for the message.
func (p *Page) Do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	p.must(what, chromedp.Do(p.ctx, steps...))
}

// Eval gives the value of a JavaScript expression.
func Eval[T any](p *Page, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	p.must("evaluate "+expression, err)
	return v
}

// Until waits until a JavaScript expression is true. claim is said when it never is.
func (p *Page) Until(claim, expression string) {
	p.t.Helper()
	p.Within(Patience, claim, expression)
}

// Within is Until for what takes long by its nature.
func (p *Page) Within(patience time.Duration, claim, expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Poll[bool]("(() => { try { return Boolean("+expression+"); } catch { return false; } })()",
		chromedp.WithPollingInterval(60*time.Millisecond), chromedp.WithPollingTimeout(patience)))
	if err == nil {
		return
	}
	last, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText.slice(0, 1500) : "(no page)"`))
	p.t.Fatalf("waited %v in vain: %s\n  want %s\n  wrong %q\n  page shows: %s", patience, claim, expression, p.Wrong(), last)
}

// Click clicks the first element that a selector names, once it is there and seen.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.Until(selector+" can be clicked", fmt.Sprintf(`(e => e && e.getClientRects().length && !e.disabled)(document.querySelector(%q))`, selector))
	p.Do("click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// Press sends a key to what has the focus.
func (p *Page) Press(key string) {
	p.t.Helper()
	p.Do("press a key", chromedp.KeyEvent(key))
}

// Picture writes what is seen to a file.
func (p *Page) Picture(file string) {
	p.t.Helper()
	png := run(p, page.CaptureScreenshot, page.CaptureScreenshotParams{}).Data
	if err := os.WriteFile(file, png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// keep leaves a picture of a failed test in $STOA_SHOTS, if that names a folder.
func (p *Page) keep() {
	dir := os.Getenv("STOA_SHOTS")
	if dir == "" {
		return
	}
	shot, err := chromedp.Call(p.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{})
	if err != nil {
		return
	}
	name := filepath.Join(dir, "failed-"+strings.ReplaceAll(p.t.Name(), "/", "-")+".png")
	if err := os.WriteFile(name, shot.Data, 0o644); err == nil {
		p.t.Logf("what was seen: %s", name)
	}
}
